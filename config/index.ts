export { Configuration, type ReadOptions, readConfiguration } from './configuration.js';
export { boolean, choice, decimal, integer, keys, list, text } from './fields.js';
export { childAt, keyPlace, type Located, type Place } from './located.js';
export { maskedValue } from './mask.js';
export { nearest, quoteName } from './names.js';
export { ConfigError, type FormatOptions, formatProblem, type Position, type Problem } from './problem.js';
export { describeKeys, type KeyReference } from './reference.js';
export { type CheckOptions, splitKeys } from './schema.js';
export type { KeyMeta } from './shape.js';
