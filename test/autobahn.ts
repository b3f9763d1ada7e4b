/**
 * Runs the fuzzing client of the Autobahn test suite against `websocket()`, on two workers: `npm run autobahn`. Arguments
 * choose the cases: `npm run autobahn -- '1.*' '12.1.*'`.
 *
 * Needs `wstest` on the PATH, and fetches nothing. Exits with 1 where a case fails.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlugin } from '../host/testing.js';

const INSTALL = `Autobahn's wstest is not on the PATH. It runs on Python 2.7 alone. To install it:

  python2.7 -m pip install --user virtualenv
  python2.7 -m virtualenv ~/autobahn
  ~/autobahn/bin/pip install autobahntestsuite
  PATH=~/autobahn/bin:$PATH npm run autobahn
`;

/** Echoes messages of 16 MiB, too: in fragments, because a client that leaves 4 MiB unread is cut off. */
const echo = `
import { definePlugin } from 'plugin-server';
const part = 1_000_000;
export default definePlugin({
  setup({ websocket }) {
    const answer = async (socket, data, binary) => {
      let at = 0;
      do {
        const piece = data.subarray(at, at + part);
        at += part;
        await new Promise((sent) => socket.send(piece, { binary, fin: at >= data.length }, sent));
      } while (at < data.length);
    };
    const serve = (socket) => {
      let last = Promise.resolve();
      socket.on('message', (data, binary) => {
        last = last.then(() => answer(socket, data, binary));
      });
    };
    websocket('/', { maxPayload: 20_000_000, perMessageDeflate: true }, serve);
  },
});
`;

/** What the suite says of a case. */
interface Verdict {
  readonly behavior: string;
  readonly behaviorClose: string;
}

/**
 * Messages of 16,384 fragments and more: ws closes with 1008 where a message has more than 16,384, so that a client cannot
 * keep a server busy.
 */
const refused = ['9.3.1', '9.3.2', '9.4.1', '9.4.2'];
const passing = ['OK', 'NON-STRICT', 'INFORMATIONAL'];
const cases = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), 'autobahn-'));
try {
  process.exitCode = await run();
} finally {
  await rm(folder, { recursive: true });
}

async function run(): Promise<number> {
  await writeFile(join(folder, 'echo.mjs'), echo);
  const server = await startPlugin(join(folder, 'echo.mjs'), { workers: 2 });
  try {
    const spec = {
      outdir: join(folder, 'report'),
      servers: [{ agent: 'plugin-server', url: `${server.url.replace('http', 'ws')}/echo` }],
      cases: cases.length === 0 ? ['*'] : cases,
      'exclude-cases': refused,
      'exclude-agent-cases': {},
    };
    await writeFile(join(folder, 'spec.json'), JSON.stringify(spec));
    if (!(await fuzz(join(folder, 'spec.json')))) return 1;
    return report(JSON.parse(await readFile(join(folder, 'report/index.json'), 'utf8')));
  } finally {
    await server.close();
  }
}

/** Resolves to whether the client came to its end. */
function fuzz(spec: string): Promise<boolean> {
  const client = spawn('wstest', ['--mode', 'fuzzingclient', '--spec', spec], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    client.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') return reject(error);
      process.stderr.write(INSTALL);
      resolve(false);
    });
    client.once('exit', (code) => resolve(code === 0));
  });
}

/** Prints how each group of cases ended, and each case that failed. Returns the exit code. */
function report({ 'plugin-server': verdicts = {} }: Record<string, Record<string, Verdict>>): number {
  const groups = new Map<string, Map<string, number>>();
  const failed: string[] = [];
  for (const [id, { behavior, behaviorClose }] of Object.entries(verdicts)) {
    const [group = ''] = id.split('.');
    const counts = groups.get(group) ?? new Map<string, number>();
    groups.set(group, counts.set(behavior, (counts.get(behavior) ?? 0) + 1));
    if (!passing.includes(behavior) || !passing.includes(behaviorClose))
      failed.push(`${id}: ${behavior}, close ${behaviorClose}`);
  }
  const sorted = [...groups].sort(([a], [b]) => Number(a) - Number(b));
  for (const [group, counts] of sorted) {
    const texts = [...counts].map(([behavior, count]) => `${count} ${behavior}`);
    process.stdout.write(`group ${group}: ${texts.sort().join(', ')}\n`);
  }
  for (const text of failed) process.stderr.write(`${text}\n`);
  const total = Object.keys(verdicts).length;
  process.stdout.write(`${total - failed.length} of ${total} cases passed\n`);
  return failed.length === 0 && total > 0 ? 0 : 1;
}
