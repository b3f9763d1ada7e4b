// Stryker's runner for mocha asks for files of mocha without their ending, which mocha 12 has changed to .cjs.
const { _extensions: extensions } = require('node:module');
extensions['.cjs'] ??= extensions['.js'];
