import { METHODS } from 'node:http';
import { ConfigError } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { Host } from '../host.js';
import type { MountTable } from '../http/mounts.js';
import { askedKey } from '../http/route-key.js';
import { operationOf } from '../kit/operation.js';
import { type IniFile, readerOf } from '../prepare/ini-file.js';
import { CONTROL_PATHS } from '../prepare/paths.js';

/** Prints every method, path, plugin and key as a table. The plugins are set up for it, and nothing is served. */
export async function routes(ini: IniFile): Promise<boolean> {
  try {
    const host = await Host.start({ iniFile: ini.path, ...readerOf(ini), listen: false, logLevel: 'error' });
    process.stdout.write(table(rowsOf(host)));
    await host.close();
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(formatProblems('the routes cannot be listed', error));
    return false;
  }
}

type Row = readonly [methods: string, path: string, plugin: string, key: string, address: string];

/** With [admin], each row says at which addresses the route is served. */
function rowsOf({ mounts, operatorsMounts }: Host): Row[] {
  if (operatorsMounts === undefined) return sorted(rowsAt(mounts));
  const rows = new Map<string, Row>();
  for (const [table, address] of [
    [mounts, 'network'],
    [operatorsMounts, 'admin'],
  ] as const) {
    for (const row of rowsAt(table)) {
      const key = JSON.stringify(row);
      const before = rows.get(key);
      rows.set(
        key,
        before === undefined
          ? [row[0], row[1], row[2], row[3], address]
          : [row[0], row[1], row[2], row[3], 'both'],
      );
    }
  }
  return sorted([...rows.values()]);
}

function rowsAt(mounts: MountTable): Row[] {
  const rows: Row[] = [];
  for (const mount of mounts) {
    const key = mount.checksKeys ? undefined : mount.keys?.kind;
    // Middleware of use() serves any method and path below the plugin's, or none.
    if (mount.uses !== undefined) rows.push(['*', `${mount.path}/*`, mount.name, key ?? keyless(mount), '']);
    for (const layer of mount.router.stack) {
      const { methods, path } = layer;
      // Middleware has no methods; HEAD goes where GET does.
      const named = methods.filter((method) => method !== 'HEAD' || methods.length === 1);
      if (named.length === 0) continue;
      const full = String(path) === '/' ? mount.path : `${mount.path}${path}`;
      const opensSocket = layer.stack.some((each) => operationOf(each)?.responses?.[101] !== undefined);
      const shown = METHODS.every((method) => methods.includes(method)) ? 'any' : named.join(', ');
      rows.push([
        opensSocket ? `${shown} 101` : shown,
        full,
        mount.name,
        key ?? askedKey(mount.router, layer) ?? keyless(mount),
        '',
      ]);
    }
  }
  return rows;
}

function sorted(rows: Row[]): Row[] {
  return rows.sort(
    (a, b) => a[2].localeCompare(b[2]) || a[1].localeCompare(b[1]) || a[0].localeCompare(b[0]),
  );
}

/** The control routes are closed, not open, while no key is set. */
function keyless({ path }: { readonly path: string }): string {
  return CONTROL_PATHS.includes(path) ? 'global (none is set)' : 'none';
}

function table(rows: readonly Row[]): string {
  const hasAddresses = rows.some((row) => row[4] !== '');
  const all: readonly Row[] = [['METHOD', 'PATH', 'PLUGIN', 'KEY', hasAddresses ? 'ADDRESS' : ''], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => (row[column] as string).length)));
  const lines = all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}
