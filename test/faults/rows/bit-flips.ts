import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server, StartError } from '../support/server.js';

const sessions = 400;
const users = 40;
const scrub = fileURLToPath(
  new URL('../../../plugins/sessman/stores/embedded/scrub-command.js', import.meta.url),
);

const isScrubbed = /^sessman_store_scrub_finished_timestamp_seconds\S* \d/m;

interface Known {
  readonly id: string;
  readonly text: string;
}

interface Seen {
  right: number;
  /** 503 store_damaged. */
  refused: number;
  /** 404 of a session that lives. */
  missing: number;
  /** The worker ended on it, and was replaced. */
  unanswered: number;
  wrong: number;
}

export const bitFlips: Fault = {
  name: 'bit-flips',
  title: "one bit of the embedded store's file changed",
  async run(scale) {
    const rounds = scale(150, 10);
    const verdict = new Verdict();
    const server = await Server.start();
    const store = join(server.folder, 'data/sessman/store');
    const file = join(store, 'sessions.mdb');
    const counts = { start: 0, refused: 0, hidden: 0, unused: 0, crashed: 0 };
    let wrong = 0;
    try {
      const known = await makeSessions(server);
      // The first scrub of the server itself must not be under way when bits change.
      while (!isScrubbed.test((await call(server.url, '/metrics')).text)) await sleep(50);
      await server.stop();
      const whole = await readFile(file);
      for (let round = 0; round < rounds; round += 1) {
        const at = randomInt(whole.length);
        const bytes = Buffer.from(whole);
        bytes[at]! ^= 1 << randomInt(8);
        await writeFile(file, bytes);
        await rm(`${file}-lock`, { force: true });
        try {
          await server.start();
        } catch (error) {
          if (!(error instanceof StartError)) throw error;
          counts.start += 1;
          verdict.expect(
            /sessions\.mdb (is damaged|cannot be opened)/.test(error.said),
            `an unclear refusal: ${error.said.slice(0, 300)}`,
          );
          continue;
        }
        const seen = await readAll(server, known);
        wrong += seen.wrong;
        verdict.expect(seen.wrong === 0, `byte ${at}: ${seen.wrong} wrong answers`);
        const { stdout } = await promisify(execFile)(process.execPath, [scrub, store]).catch(
          (error: { stdout: string }) => error,
        );
        const isFound = !/ 0 damaged.* 0 index entries repaired/.test(stdout);
        if (seen.missing > 0) {
          counts.hidden += 1;
          verdict.expect(
            isFound,
            `byte ${at}: ${seen.missing} sessions missing, and the scrub found nothing: ${stdout}`,
          );
        } else if (seen.refused > 0) counts.refused += 1;
        else if (seen.unanswered > 0) counts.crashed += 1;
        else if (isFound) counts.hidden += 1;
        else counts.unused += 1;
        await server.stop();
      }
    } finally {
      await server.close();
    }
    return {
      times: `${rounds} bits`,
      acknowledged: sessions,
      wrong,
      notes: [
        `${counts.start} were refused at the start, ${counts.refused} by 503 store_damaged, ${counts.hidden} hid a record or an index entry and were found by the next scrub, ${counts.crashed} ended a worker, ${counts.unused} changed nothing that is read`,
      ],
      failures: verdict.failures,
    };
  },
};

async function makeSessions(server: Server): Promise<Known[]> {
  const known: Known[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let i = client; i < sessions; i += 8) {
        const about = i % 4 === 0 ? { about: { device: `device ${i}` } } : {};
        const body = {
          userid: `user-${i % users}`,
          data: { i, filling: 'x'.repeat(i % 10 === 0 ? 6000 : 300) },
          ...about,
        };
        const answer = await call(server.url, '/sessman/new', { body });
        const { session_id: id } = JSON.parse(answer.text) as { session_id: string };
        known[i] = { id, text: (await get(server, id)).text };
      }
    }),
  );
  return known;
}

function get(server: Server, id: string) {
  return call(server.url, '/sessman/get', { headers: { 'X-Session-Id': id } });
}

async function readAll(server: Server, known: readonly Known[]): Promise<Seen> {
  const seen: Seen = { right: 0, refused: 0, missing: 0, unanswered: 0, wrong: 0 };
  const count = (status: number, text: string, isRight: boolean) => {
    if (status === 503 && text.includes('store_damaged')) seen.refused += 1;
    else if (status === 0) seen.unanswered += 1;
    else if (status === 404) seen.missing += 1;
    else if (status === 200 && isRight) seen.right += 1;
    else seen.wrong += 1;
  };
  await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let i = client; i < sessions; i += 8) {
        const { status, text } = await get(server, known[i]!.id);
        count(status, text, text === known[i]!.text);
      }
    }),
  );
  for (let user = 0; user < users; user += 1) {
    const { status, text } = await call(server.url, `/sessman/list?userid=user-${user}`);
    if (status !== 200) count(status, text, false);
    else {
      const { sessions: listed } = JSON.parse(text) as {
        sessions: { handle: string; about?: { device: string } }[];
      };
      const mine = known.filter((_, i) => i % users === user).map(({ id }) => id.slice(0, 16));
      const isWhole = listed.length === mine.length;
      const isRight = listed.every(({ handle, about }) => {
        const i = known.findIndex(({ id }) => id.startsWith(handle));
        return i >= 0 && i % users === user && about?.device === (i % 4 === 0 ? `device ${i}` : undefined);
      });
      count(isWhole || !isRight ? 200 : 404, text, isRight);
    }
  }
  return seen;
}
