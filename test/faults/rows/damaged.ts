import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server, StartError } from '../support/server.js';

const sessions = 400;
const page = 4096;

/** What is done to the bytes of the store's file. */
const truncations: readonly ((file: Buffer) => Buffer)[] = [
  () => Buffer.alloc(0),
  (file) => file.subarray(0, 100),
  (file) => file.subarray(0, page),
  (file) => file.subarray(0, 2 * page),
  (file) => file.subarray(0, Math.floor(file.length / 2 / page) * page),
  (file) => file.subarray(0, file.length - page),
  (file) => file.subarray(0, file.length - 1),
];

export const damaged: Fault = {
  name: 'damaged',
  title: "the embedded store's file cut off, or overwritten with noise",
  async run(scale) {
    const verdict = new Verdict();
    const server = await Server.start();
    const file = join(server.folder, 'data/sessman/store/sessions.mdb');
    let lost = 0;
    let wrong = 0;
    let refused = 0;
    let partly = 0;
    let harmless = 0;
    let times = 0;
    try {
      const ids = await makeSessions(server);
      await server.stop();
      const whole = await readFile(file);
      const noises = Array.from({ length: scale(60, 6) }, (_, i) => noise(i));
      for (const damage of [...truncations, ...noises]) {
        times += 1;
        const bytes = damage(whole);
        await writeFile(file, bytes);
        const message = await refusal(server);
        if (message === undefined) {
          const found = await read(server, ids);
          wrong += found.wrong;
          if (found.refused === 0) harmless += 1;
          else partly += 1;
          verdict.expect(found.wrong === 0, `served with ${found.wrong} sessions missing or wrong`);
          await server.stop();
          continue;
        }
        refused += 1;
        verdict.expect(
          /sessions\.mdb is (damaged|empty)/.test(message) && !/\n\s+at /.test(message),
          `an unclear refusal: ${message.slice(0, 300)}`,
        );
        verdict.expect(bytes.equals(await readFile(file)), 'a refused file was changed');
      }
      await writeFile(file, whole);
      await server.start();
      const found = await read(server, ids);
      lost = found.wrong + found.refused;
      verdict.expect(lost === 0, `${lost} sessions lost once the whole file was back`);
    } finally {
      await server.close();
    }
    return {
      times: `${times} damages`,
      acknowledged: sessions,
      lost,
      wrong,
      notes: [
        `${refused} were refused at the start with a message that names the damage and the remedy, and the file was left unchanged; ${partly} hit only the data of single sessions, whose requests got 503 store_damaged; ${harmless} hit only unused parts of the file`,
      ],
      failures: verdict.failures,
    };
  },
};

/** Noise over the beginning, over all, or anywhere. */
function noise(i: number): (file: Buffer) => Buffer {
  return (file) => {
    const copy = Buffer.from(file);
    if (i === 0) return randomBytes(file.length);
    const length = i === 1 ? 2 * page : page * (i % 2 === 0 ? 1 : 1 + Math.floor(Math.random() * 64));
    const start = i === 1 ? 0 : Math.floor((Math.random() * (file.length - length)) / page) * page;
    randomBytes(length).copy(copy, start);
    return copy;
  };
}

/** What the server says when it does not start; undefined when it does. */
async function refusal(server: Server): Promise<string | undefined> {
  try {
    await server.start();
    return undefined;
  } catch (error) {
    if (error instanceof StartError && error.status === 1) return error.said;
    throw error;
  }
}

async function makeSessions(server: Server): Promise<string[]> {
  const ids: string[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let i = client; i < sessions; i += 8) {
        const answer = await call(server.url, '/sessman/new', {
          body: { userid: `user-${i % 40}`, data: { i, filling: filling(i) } },
        });
        ids[i] = (JSON.parse(answer.text) as { session_id: string }).session_id;
      }
    }),
  );
  return ids;
}

/** Of all sessions, how many are refused as damaged, and how many are missing or wrong. */
async function read(server: Server, ids: readonly string[]): Promise<{ refused: number; wrong: number }> {
  const found = { refused: 0, wrong: 0 };
  await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let i = client; i < sessions; i += 8) {
        const answer = await call(server.url, '/sessman/get', { headers: { 'X-Session-Id': ids[i]! } });
        if (answer.status === 503 && answer.text.includes('store_damaged')) found.refused += 1;
        else if (answer.status !== 200 || !isSession(answer.text, i)) found.wrong += 1;
      }
    }),
  );
  return found;
}

function isSession(text: string, i: number): boolean {
  try {
    const { data } = JSON.parse(text) as { data: { i: number; filling: string } };
    return data.i === i && data.filling === filling(i);
  } catch {
    return false;
  }
}

function filling(i: number): string {
  return 'x'.repeat(i % 10 === 0 ? 20_000 : 300);
}
