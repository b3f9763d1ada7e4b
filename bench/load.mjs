import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { wireText } from './http.mjs';
import { installed } from './machine.mjs';

const execute = promisify(execFile);
const beside = (name) => fileURLToPath(new URL(name, import.meta.url));
const wrk = installed('wrk');

/** As many clients as send requests at once, each over one connection that is kept. */
export const connections = 64;

/**
 * Sends requests in turn, as fast as they are answered, for some seconds.
 *
 * @param {object} options
 * @param {number} options.port
 * @param {number} options.seconds
 * @param {object[]} options.requests
 * @param {string} [options.expect] text that every answer's body must hold; checking it costs the generator time
 * @param {string} options.cores those that the generator is kept on
 * @param {string} options.folder for the files that the generator reads
 * @returns {Promise<{ count: number, rate: number, p50: number, p99: number }>} answers, answers a second, milliseconds
 */
export async function load(options) {
  const result = JSON.parse(await (wrk ? withWrk : withAutocannon)(options));
  if (result.failed > 0) {
    throw new Error(
      `${result.failed} requests failed or were not answered as expected; ${result.count} were answered`,
    );
  }
  return { count: result.count, rate: result.count / result.seconds, p50: result.p50, p99: result.p99 };
}

async function withWrk({ port, seconds, requests, expect, cores, folder }) {
  const file = join(folder, 'requests');
  writeFileSync(file, requests.map((one) => wireText(port, one)).join('\0'));
  const output = await run(cores, [
    ...['wrk', '--threads', '1', '--connections', String(connections), '--duration', `${seconds}s`],
    ...[
      '--timeout',
      '10s',
      '--script',
      beside('wrk.lua'),
      `http://127.0.0.1:${port}`,
      '--',
      file,
      expect ?? '',
    ],
  ]);
  return output.slice(output.lastIndexOf('{'));
}

function withAutocannon({ port, seconds, requests, expect, cores, folder }) {
  const file = join(folder, 'load.json');
  writeFileSync(file, JSON.stringify({ port, seconds, requests, expect, connections }));
  return run(cores, [process.execPath, beside('autocannon.mjs'), file]);
}

async function run(cores, command) {
  return (await execute('taskset', ['--cpu-list', cores, ...command])).stdout;
}
