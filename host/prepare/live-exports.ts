import { sep } from 'node:path';
import { placesOf } from '../diagnostics/locate.js';

/**
 * Gives TypeScript plugins what imports are in ES modules: live, and a ReferenceError where one is read before it has a
 * value. The loader compiles modules to CommonJS and keeps what was read first: a counter would stand still, and where
 * files import each other, `1 + undefined` would be NaN without a word.
 *
 * @param code as the loader compiled it
 */
export function liveExports(code: string): string {
  const variables = new Set([...code.matchAll(VARIABLE)].map(([, name]) => name));
  return code
    .replace(FIRST_LINE, (line) =>
      line.replaceAll(UNSET, (statement: string) => {
        const names = [...statement.matchAll(EXPORT)].map(
          ([, name, quoted]) => name ?? (JSON.parse(quoted!) as string),
        );
        // As in an ES module, `var` has the value undefined from the beginning.
        const set = names.filter((name) => variables.has(name));
        if (set.length === names.length) return statement;
        const unset = names.filter((name) => !variables.has(name));
        const list = JSON.stringify(set.length === 0 ? unset : [...unset, 0, ...set]);
        // As long as it was, for the columns of the source map.
        return `__live(module,${list.slice(1, -1)});`.padEnd(statement.length);
      }),
    )
    .replaceAll(IMPORT, '__live.view($&)');
}

const FIRST_LINE = /^.*/;
/** `exports.b = exports.a = void 0;` in front of the imports; `let l = exports.l = void 0;` is not one. */
const UNSET = /(?<=[;}])(?:exports(?:\.[\w$]+|\["(?:[^"\\]|\\.)*"\]) = )+void 0;/g;
const EXPORT = /exports(?:\.([\w$]+)|\[("(?:[^"\\]|\\.)*")\]) = /g;
const VARIABLE = /\bvar ([\w$]+) = exports[.[]/g;
const IMPORT = /await jitiImport\("(?:[^"\\]|\\.)*"\)/g;

const viewOf = Symbol('view');

interface LoadingModule {
  readonly filename: string;
  readonly exports: { [name: string]: unknown; [viewOf]?: object };
}

/** Runs in a compiled module before its imports. The exports named before 0 have no value yet; the others are undefined. */
function live({ filename, exports }: LoadingModule, ...list: (string | 0)[]): void {
  const names = list.filter((name) => name !== 0);
  const end = list.indexOf(0);
  const pending = new Set<string | symbol>(end < 0 ? names : names.slice(0, end));
  for (const name of names) {
    Object.defineProperty(exports, name, {
      enumerable: true,
      configurable: true,
      get: () => undefined,
      set(value: unknown) {
        pending.delete(name);
        Object.defineProperty(exports, name, { enumerable: true, configurable: true, writable: true, value });
      },
    });
  }
  const view = new Proxy(exports, {
    get(target, name) {
      if (pending.has(name)) throw unset(filename, String(name));
      return Reflect.get(target, name);
    },
  });
  Object.defineProperty(exports, viewOf, { value: view, configurable: true });
}

/** What an import of a compiled module reads from. Node's own modules are already live. */
live.view = (imported: LoadingModule['exports'] | null | undefined): unknown =>
  imported?.[viewOf] ?? imported;

function unset(file: string, name: string): ReferenceError {
  const what = name === 'default' ? 'the default export' : `"${name}"`;
  const [own, ...frames] = placesOf(new Error());
  const user = frames.find((frame) => frame.file !== own!.file && !frame.file.includes(loader))?.file;
  return new ReferenceError(
    `${user ?? 'a file'} uses ${what} of ${file} before it has a value; the two files import each other`,
  );
}

const loader = `${sep}jiti${sep}`;

Object.defineProperty(globalThis, '__live', { value: live, configurable: true });
