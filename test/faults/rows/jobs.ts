import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { Server, signal } from '../support/server.js';

/** A job that writes to a storage all the time, and tells in a file of each run and of each write. */
const ticker = `
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ storage, every, resolvePath }) {
    const fences = storage('fences');
    const tell = (line) => appendFileSync(resolvePath('told.log'), JSON.stringify({ pid: process.pid, ...line }) + '\\n');
    every('tick', '1 s', async ({ scheduledAt, attempt, fence }) => {
      const run = { at: scheduledAt.getTime(), attempt, fence };
      tell({ ...run, what: 'begin' });
      for (let write = 0; write < 40; write += 1) {
        await fences.update('latest', (latest = 0) => {
          if (latest > fence) throw new Error('a later run has written');
          return fence;
        }).catch((error) => {
          tell({ ...run, what: error.code ?? 'overtaken' });
          throw error;
        });
        await sleep(10);
      }
      tell({ ...run, what: 'end' });
    });
  },
});
`;

interface Told {
  readonly pid: number;
  readonly at: number;
  readonly attempt: number;
  readonly fence: number;
  readonly what: string;
}

/** Milliseconds that a lease lasts, and what a busy machine needs besides. */
const takeover = 15_000 + 5000;

export const jobs: Fault = {
  name: 'jobs',
  title: 'workers killed and frozen while they run a job of a plugin, two workers',
  async run(scale) {
    const rounds = scale(20, 2);
    const verdict = new Verdict();
    const server = await Server.start({
      ini: '[main]\nsafe=list:ticker\n[network]\nworkers=2\nworker_timeout=0\n',
      files: { 'plugins/ticker.js': ticker },
    });
    const told = async (): Promise<Told[]> => {
      const text = await readFile(join(server.folder, 'told.log'), 'utf8').catch(() => '');
      const lines = text.split('\n').filter((line) => line.endsWith('}'));
      return lines.map((line) => JSON.parse(line) as Told);
    };
    const until = async (
      what: string,
      fits: (line: Told) => boolean,
      { from = 0, patience = 60_000 } = {},
    ): Promise<Told> => {
      const end = performance.now() + patience;
      for (;;) {
        const line = (await told()).slice(from).find(fits);
        if (line !== undefined) return line;
        if (performance.now() > end) {
          const latest = (await told()).slice(-5).map((each) => JSON.stringify(each));
          throw new Error(`no run of the job: ${what}; the latest: ${latest.join(' ')}`);
        }
        await sleep(10);
      }
    };
    let recovery = 0;
    /** Faults that came too late, when the run had ended. */
    let late = 0;
    /** Workers frozen within a commit: they hold the lock of the store, and nobody can take their run over. */
    let inCommit = 0;
    let all: Told[] = [];
    try {
      for (let round = 0; round < rounds; round += 1) {
        const from = (await told()).length;
        const run = await until('the next', ({ what }) => what === 'begin', { from });
        const begun = performance.now();
        const isFrozen = round % 2 === 1;
        signal(run.pid, isFrozen ? 'SIGSTOP' : 'SIGKILL');
        const isNext = ({ at, attempt, what }: Told) =>
          at === run.at && (attempt === run.attempt + 1 || what === 'end');
        const isEnd = ({ at, what }: Told) => at === run.at && what === 'end';
        const taken = until(`attempt ${run.attempt + 1} of ${new Date(run.at).toISOString()}`, isNext, {
          patience: 2 * takeover,
        });
        const next = await taken.catch((error: Error) => {
          if (!isFrozen) throw error;
        });
        if (next === undefined) {
          inCommit += 1;
          signal(run.pid, 'SIGCONT');
          await until('the end', isEnd);
          continue;
        }
        if (next.attempt === run.attempt) {
          late += 1;
          signal(run.pid, 'SIGCONT');
          continue;
        }
        recovery = Math.max(recovery, performance.now() - begun);
        if (isFrozen) {
          signal(run.pid, 'SIGCONT');
          await until(
            'the frozen one',
            ({ pid, at, what }) => pid === run.pid && at === run.at && what !== 'begin',
          );
        }
        await until('the end', isEnd);
      }
      all = await told();
    } finally {
      await server.close();
    }
    const begins = all.filter(({ what }) => what === 'begin');
    const ends = all.filter(({ what }) => what === 'end').map(({ at }) => at);
    const twice = ends.length - new Set(ends).size;
    const overtaken = all.filter(
      ({ what }) => what !== 'begin' && what !== 'end' && what !== 'lease_lost',
    ).length;
    const fences = begins.map(({ fence }) => fence);
    const times = [...new Set(begins.map(({ at }) => at))].sort((a, b) => a - b);
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    verdict.expect(late * 2 < rounds, `${late} of ${rounds} faults came after the end of their run`);
    verdict.expect(twice === 0, `${twice} times were finished twice`);
    verdict.expect(overtaken === 0, `${overtaken} writes came after those of a later run`);
    verdict.expect(
      fences.every((fence, i) => i === 0 || fence > fences[i - 1]!),
      'fences did not grow',
    );
    verdict.expect(
      times.every((at) => ends.includes(at) || at === times.at(-1)),
      'a time was begun and never finished',
    );
    verdict.expect(inCommit * 2 < rounds, `${inCommit} of ${rounds} workers were frozen within a commit`);
    const long = gaps.filter((gap) => gap > takeover + 1000);
    verdict.expectSpeed(long.length <= inCommit, `no time came for ${long.join(', ')} ms`);
    verdict.atMost('taken up again', recovery, takeover);
    const refused = all.filter(({ what }) => what === 'lease_lost').length;
    return {
      times: `${rounds - late - inCommit} kills and freezes`,
      wrong: twice + overtaken,
      recovery,
      notes: [
        `a lease lasts 15 s; of ${begins.length} runs ${ends.length} ended, each time once; writes of frozen workers that were refused with lease_lost: ${refused}`,
        ...(inCommit > 0
          ? [
              `${inCommit} more were frozen within a commit: they held the lock of the store until they went on, as worker_timeout was off`,
            ]
          : []),
      ],
      failures: verdict.failures,
    };
  },
};
