// Bundles the server and the packages that every start needs into dist/bundle/: a start then reads a dozen files, not
// four hundred, in less than three quarters of the time. What is loaded on demand stays where npm has put it.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../', import.meta.url));
const target = `${root}dist/bundle/`;
const cli = `${target}cli.js`;
const { dependencies, exports: modules } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

/** Imported by what a start needs; each of the other dependencies is imported on demand or by a plugin. */
const atStart = [
  '@hapi/bourne',
  '@koa/cors',
  '@koa/router',
  'commander',
  'fastest-levenshtein',
  'ini',
  'ipaddr.js',
  'jsonc-parser',
  'koa',
  'koa-compose',
  'pino',
  'prom-client',
  'zod',
];

/** `kit` from `./dist/bundle/kit.js`, with the compiled module that it is made from. */
const kit = Object.values(modules).flatMap(({ 'plugin-server-bundle': file, default: source } = {}) =>
  file === undefined ? [] : [[file.slice('./dist/bundle/'.length, -'.js'.length), source]],
);

/** Zod's messages in 50 languages are half of it. `z.locales` loads one when it is called. */
const lazyLocales = {
  name: 'lazy-locales',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^zod\/v4\/locales$/ }, () => ({ external: true }));
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, async ({ path }) => {
      const names = Object.keys(await import(pathToFileURL(path).href));
      return {
        contents: names
          .map((name) => `const ${name} = () => require('zod/v4/locales').${name}();`)
          .concat(`export { ${names.join(', ')} };`)
          .join('\n'),
      };
    });
  },
};

/** A file finds what lies beside it as it did before it was bundled. */
const ownLocation = {
  name: 'own-location',
  setup: ({ onLoad, initialOptions: { outdir } }) =>
    onLoad({ filter: /[\\/]dist[\\/]plugins[\\/].*\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(
        'import.meta.url',
        `new URL(${JSON.stringify(relative(outdir, path))}, import.meta.url).href`,
      ),
    })),
};

/** Imported, lmdb is twenty files; required, it is one. */
const oneFile = {
  name: 'one-file',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^lmdb$/ }, ({ path, kind }) =>
      kind === 'require-call' ? { external: true } : { path, namespace: 'required' },
    );
    onLoad({ filter: /.*/, namespace: 'required' }, ({ path }) => ({
      contents: `export const { open, getLastVersion } = require('${path}');`,
    }));
  },
};

/** What the server and each plugin that comes with it are bundled with. */
const common = {
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  // jsonc-parser's CommonJS form cannot be bundled.
  mainFields: ['module', 'main'],
  external: ['plugin-server', ...Object.keys(dependencies).filter((name) => !atStart.includes(name))],
  plugins: [lazyLocales, ownLocation, oneFile],
  // What is CommonJS asks for Node's own modules with it.
  banner: {
    js: `import { createRequire as requireFrom } from 'node:module';const require = requireFrom(import.meta.url);`,
  },
  metafile: true,
  write: false,
  // For `npm run coverage`: what a worker runs then counts for the file that it was written in.
  sourcemap: process.argv.includes('--sourcemap') && 'linked',
  logLevel: 'warning',
};

/** With one character in a comment that is not ASCII, V8 keeps two bytes for each character of a file. */
function escaped(unit) {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

rmSync(target, { recursive: true, force: true });
const bundles = [
  build({
    ...common,
    entryPoints: {
      cli: 'dist/host/cli.js',
      worker: 'dist/host/worker/index.js',
      'loader-hooks': 'dist/host/prepare/loader-hooks.js',
      ...Object.fromEntries(kit),
    },
    outdir: target,
  }),
  // Apart, so that an error's place tells the plugin.
  ...readdirSync(`${root}plugins`).map((name) =>
    build({
      ...common,
      entryPoints: { index: `dist/plugins/${name}/index.js` },
      outdir: `${target}plugins/${name}`,
    }),
  ),
];
const inputs = [];
for (const { outputFiles, metafile } of await Promise.all(bundles)) {
  inputs.push(...Object.keys(metafile.inputs));
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text.replace(/[^\0-\x7f]/g, escaped), { mode: path === cli ? 0o755 : 0o644 });
  }
}

// The licences of what is bundled ask to go along with it.
const folders = new Set(
  inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []),
);
const licences = [...folders].sort().map((folder) => {
  const { name, license } = JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8'));
  const file = readdirSync(root + folder).find((each) => /^licen[cs]e/i.test(each));
  return `${name} (${license})\n\n${file === undefined ? '' : readFileSync(`${root}${folder}/${file}`, 'utf8')}`;
});
writeFileSync(`${target}licences.txt`, licences.join('\n'));
