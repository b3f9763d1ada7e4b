import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Host, type HostOptions } from '../../host/host.js';

export interface TestServerOptions extends Omit<HostOptions, 'iniFile'> {
  /** The text of plugin-server.ini, without `port`, which is always 0. */
  readonly ini?: string;
  /** More files beside it: path -> text. */
  readonly files?: Readonly<Record<string, string>>;
  /** A folder that is there already; it is not removed at the end. */
  readonly folder?: string;
}

export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface TestServer {
  readonly host: Host;
  readonly url: string;
  readonly folder: string;
  /** Every log line so far. */
  readonly logs: readonly LogLine[];
  /** All of the log as text. */
  readonly logText: () => string;
  /** `fetch` of a path on this server. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Stops the server and removes its folder. */
  close(): Promise<void>;
}

/** A server of one test: a folder with an INI file and what else it needs, a Host in this process on a free port. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { ini = '', files = {}, folder: given, ...hostOptions } = options;
  const folder = given ?? (await makeFolder());
  const iniFile = join(folder, 'plugin-server.ini');
  await writeFiles(folder, { ...files, 'plugin-server.ini': withFreePort(ini) });
  const written: string[] = [];
  const removeFolder = async () => {
    if (given === undefined) await rm(folder, { recursive: true, force: true });
  };
  let host: Host;
  try {
    host = await Host.start({
      logDestination: { write: (line) => written.push(line) },
      ...hostOptions,
      iniFile,
    });
  } catch (error) {
    await removeFolder();
    throw error;
  }
  return {
    host,
    url: host.url,
    folder,
    get logs() {
      return written
        .join('')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as LogLine);
    },
    logText: () => written.join(''),
    fetch: (path, init) => fetch(host.url + path, init),
    close: async () => {
      await host.close();
      await removeFolder();
    },
  };
}

export function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'plugin-server-test-'));
}

export async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

/** Puts `port=int:0` into the INI's [network], which is made where it is not there, in place of a port it has. */
export function withFreePort(ini: string): string {
  return /^\[network\]/im.test(ini)
    ? ini.replace(/^port\s*=.*\n/im, '').replace(/^\[network\][^\n]*/im, '$&\nport=int:0')
    : `${ini}\n[network]\nport=int:0\n`;
}
