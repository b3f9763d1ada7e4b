import type { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { call, oneConnection } from './http.js';
import type { Server } from './server.js';

export interface Seen {
  /** Answers a second. */
  readonly rate: number;
  readonly answered: number;
  readonly failed: number;
  /** Milliseconds. */
  readonly slowest: number;
}

const clients = 16;
/** Milliseconds from one request of a client to its next. */
const pace = 50;

/** Well-behaved clients at a steady pace, each on a connection of its own: they make a session and read it. */
export class PacedClients {
  readonly #agents: Agent[] = Array.from({ length: clients }, oneConnection);

  constructor(readonly server: Server) {}

  async during(milliseconds: number): Promise<Seen> {
    let answered = 0;
    let failed = 0;
    let slowest = 0;
    const begun = performance.now();
    await Promise.all(
      this.#agents.map(async (agent, i) => {
        for (let due = begun + (pace / clients) * i; due < begun + milliseconds; due += pace) {
          await sleep(Math.max(0, due - performance.now()));
          const answer = await call(this.server.url, '/sessman/new', {
            body: { userid: `normal-${i}`, data: { due } },
            agent,
          });
          if (answer.status === 200) answered += 1;
          else failed += 1;
          slowest = Math.max(slowest, answer.ms);
        }
      }),
    );
    return { rate: answered / ((performance.now() - begun) / 1000), answered, failed, slowest };
  }
}
