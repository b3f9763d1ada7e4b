import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { messageOf } from '../../kit/deadline.js';
import type { IniFile } from '../../prepare/ini-file.js';
import { convert, type Notice } from './convert.js';
import { type Difference, differences } from './differences.js';

/** Writes an INI file from one of the Python server, and prints what behaves differently; true when it has been written. */
export function importOriginal(file: string, ini: IniFile): boolean {
  const shown = relative('.', ini.path);
  let original: string;
  try {
    original = readFileSync(file, 'utf8');
  } catch (error) {
    return refuse(messageOf(error));
  }
  if (existsSync(ini.path)) return refuse(`${shown} already exists; remove it, or name another file with -i`);
  const { text, notices } = convert(original, {
    env: process.env,
    pythonFiles: (folder) => pythonFilesIn(resolve(dirname(file), folder.replace(/^~(?=\/|$)/, homedir()))),
    jsonFile: (name) => readIfThere([join(dirname(file), name), join(dirname(file), 'plugins', name)]),
  });
  try {
    // It may hold keys: nobody may read it who may not read the original.
    writeFileSync(ini.path, text, { flag: 'wx', mode: statSync(file).mode & 0o777 });
  } catch (error) {
    return refuse(messageOf(error));
  }
  process.stdout.write(report(file, shown, notices));
  return true;
}

function refuse(reason: string): false {
  process.stderr.write(`plugin-server: nothing written: ${reason}\n`);
  return false;
}

function readIfThere(paths: readonly string[]): string | undefined {
  const path = paths.find((each) => existsSync(each));
  return path === undefined ? undefined : readFileSync(path, 'utf8');
}

function pythonFilesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.py'))
    .map((name) => name.slice(0, -'.py'.length))
    .sort();
}

function report(file: string, shown: string, notices: readonly Notice[]): string {
  const lines = notices.map(({ file: other = file, line, difference, subject }) => {
    const { about, before, now, remedy }: Difference = differences[difference];
    const rows = [
      `before: ${before}`,
      `now:    ${now}`,
      ...(remedy === undefined ? [] : [`do:     ${remedy}`]),
    ];
    return `${other}:${line}: ${subject}: ${plain([about, ...rows].join('\n  '))}\n`;
  });
  const count = notices.length === 1 ? '1 thing behaves' : `${notices.length} things behave`;
  const next = shown === 'plugin-server.ini' ? 'plugin-server check' : `plugin-server check -i ${shown}`;
  return `wrote ${shown}; ${count} differently:\n\n${lines.join('\n')}\nNext:  ${next}\n`;
}

/** Backticks are for the table in the documentation. */
function plain(text: string): string {
  return text.replaceAll('`', '');
}
