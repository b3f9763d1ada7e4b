import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Inside the package, so that its dependencies are found. */
const target = join(root, 'data', 'bench', 'untraced');

/** What each request passes in host/http/application.ts for the sake of traces, and what stands there without them. */
const hooks = [
  [/if \(this\.#options\.tracing === void 0\)\s*(res\.trace = )/, '$1'],
  [/const arrived = this\.#options\.tracing\?\.arrive\(\);/, ''],
  [/this\.#begin\(ctx, true, arrived\)/, 'this.#begin(ctx, true)'],
  [/this\.#begin\(ctx, false, arrived\)/, 'this.#begin(ctx, false)'],
  [/#begin\(ctx, pipelined, arrived\)/, '#begin(ctx, pipelined)'],
  [/if \(arrived !== void 0\) \{[^}]*\}/, ''],
  [/if \(res\.traced\?\.isForeign\)\s*Tracing\.describe\(res\.traced, ctx\);/, ''],
  [/const \{ traced \} = res;/, ''],
  [/if \(traced\?\.isForeign\)\s*Tracing\.describe\(traced, ctx\);/, ''],
  [/if \(res\.traced !== void 0\)\s*this\.#options\.tracing\.end\(res\.traced, ctx\);/, ''],
  [/^ {2}traced = void 0;$/m, ''],
];

let made = false;

/**
 * A copy of this package whose requests pass nothing that is there for traces. It cannot trace. Its other code is the same.
 *
 * @returns {string} its folder
 */
export function untracedPackage() {
  if (made) return target;
  rmSync(target, { recursive: true, force: true });
  cpSync(join(root, 'package.json'), join(target, 'package.json'));
  const bundle = join(target, 'dist', 'bundle');
  cpSync(join(root, 'dist', 'bundle'), bundle, { recursive: true });
  const file = readdirSync(bundle)
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(bundle, name))
    .find((path) => readFileSync(path, 'utf8').includes('// dist/host/http/application.js'));
  writeFileSync(file, hooks.reduce(cut, readFileSync(file, 'utf8')));
  made = true;
  return target;
}

function cut(code, [hook, rest]) {
  if (code.match(new RegExp(hook, `g${hook.flags}`))?.length !== 1)
    throw new Error(`host/http/application.ts has changed: adapt ${hook} in bench/untraced.mjs`);
  return code.replace(hook, rest);
}
