import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** The INI file that a command works with. */
export interface IniFile {
  /** Absolute. */
  readonly path: string;
  /** It was not named on the command line: if it does not exist, every setting has its default. */
  readonly optional: boolean;
}

export function iniFileOf(path: string, optional: boolean): IniFile {
  return { path: resolve(path), optional };
}

/** Options for reading the configuration from elsewhere than its files. */
export function readerOf({ path, optional }: IniFile): { readFile?: (path: string) => string } {
  if (!optional || existsSync(path)) return {};
  return { readFile: (file) => (file === path ? '' : readFileSync(file, 'utf8')) };
}
