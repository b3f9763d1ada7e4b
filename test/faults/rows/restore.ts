import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type CommandResult, runProgram } from '../../support/process.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

const sessions = 40;

export const restore: Fault = {
  name: 'restore',
  title:
    'a backup under 8 writing clients is restored after half of its sessions were ended or changed, with and without `--keep-sessions`',
  async run(scale) {
    const rounds = scale(10, 2);
    const verdict = new Verdict();
    const server = await Server.start();
    const writers = new Writers(8, () => server.url);
    const [store, copy] = ['data/sessman/store', 'copy'];
    let changed = 0;
    let ended = 0;
    let lost = 0;
    let recovery = 0;
    const expectRefusal = async (reason: RegExp, ...args: readonly string[]) => {
      const { status, stderr } = await run(server, 'restore', ...args);
      verdict.expect(status === 1 && reason.test(stderr), `a restore ended with ${status}: ${stderr}`);
    };
    try {
      for (let round = 0; round < rounds; round += 1) {
        writers.start();
        await sleep(200);
        const ids = await Promise.all(Array.from({ length: sessions }, (_, n) => make(server, n)));
        const backedUp = await run(server, 'backup', store, copy);
        verdict.expect(backedUp.status === 0, `the backup ended with ${backedUp.status}: ${backedUp.stderr}`);
        await expectRefusal(/is in use by process \d+/, copy, store);
        for (const [n, session_id] of ids.entries()) {
          if (n % 2 === 0) continue;
          const isEnd = n % 4 === 1;
          const body = isEnd ? { session_id } : { session_id, data: { n: -1 } };
          const { status } = await call(server.url, isEnd ? '/sessman/end' : '/sessman/update', { body });
          verdict.expect(status === 200, `a session could not be ended or changed: ${status}`);
          if (isEnd) ended += 1;
          else changed += 1;
        }
        await writers.stop();
        await server.stop();

        await cp(join(server.folder, copy), join(server.folder, 'damaged'), { recursive: true });
        await flipBit(join(server.folder, 'damaged/sessions.mdb'));
        await expectRefusal(/is not as it was written/, 'damaged', store);

        for (const keeps of [false, true]) {
          const begun = performance.now();
          const restored = await run(server, 'restore', copy, store, ...(keeps ? ['--keep-sessions'] : []));
          verdict.expect(
            restored.status === 0,
            `the restore ended with ${restored.status}: ${restored.stderr}`,
          );
          await server.start();
          await server.until('/readyz', 200);
          recovery = Math.max(recovery, performance.now() - begun);
          for (const [n, id] of ids.entries()) {
            const seen = await call(server.url, '/sessman/get?userid=probe', {
              headers: { 'X-Session-Id': id },
            });
            if (!keeps) verdict.expect(seen.status === 404, `a session came back: ${seen.status}`);
            else if (seen.status !== 200 || JSON.parse(seen.text).data.n !== n) lost += 1;
          }
          await server.stop();
        }
        for (const each of [copy, 'damaged', 'data']) {
          await rm(join(server.folder, each), { recursive: true, force: true });
        }
        await server.start();
      }
    } finally {
      await server.close();
    }
    verdict.expect(lost === 0, `${lost} sessions of a backup were not there as they had been`);
    const { acknowledged, wrong, slowest } = writers.tally;
    verdict.expect(wrong.length === 0, `wrong: ${wrong.slice(0, 3).join(', ')}`);
    return {
      times: `${rounds} backups, ${2 * rounds} restores`,
      acknowledged,
      lost,
      wrong: wrong.length,
      slowest,
      recovery,
      notes: [
        `by default none of the ${rounds * sessions} sessions was live afterwards; with --keep-sessions all were as in the backup, ${ended} that had been ended since and ${changed} that had been changed among them, as the command says`,
        'each time, a restore over the running server and one of a backup with one bit changed were refused',
        'recovery is from the start of sessman-restore to /readyz 200',
      ],
      failures: verdict.failures,
    };
  },
};

async function make(server: Server, n: number): Promise<string> {
  const { text } = await call(server.url, '/sessman/new', { body: { userid: 'probe', data: { n } } });
  return (JSON.parse(text) as { session_id: string }).session_id;
}

function run(server: Server, command: string, ...args: readonly string[]): Promise<CommandResult> {
  const path = fileURLToPath(
    new URL(`../../../plugins/sessman/stores/embedded/${command}.js`, import.meta.url),
  );
  return runProgram(process.execPath, [path, ...args], server.folder);
}

async function flipBit(file: string): Promise<void> {
  const bytes = await readFile(file);
  bytes[Math.floor(Math.random() * bytes.length)]! ^= 1;
  await writeFile(file, bytes);
}
