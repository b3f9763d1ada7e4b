import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { family } from './processes.mjs';

const stopDeadline = 15_000;
const running = new Set();

/** A process on some cores, ended with this one at the latest. `cores` is a list as taskset takes it. */
export class Child {
  #process;
  #ended;

  constructor(cores, command, options) {
    this.#process = spawn('taskset', ['--cpu-list', cores, ...command], options);
    this.#ended = once(this.#process, 'exit');
    running.add(this.#process);
    this.#process.once('exit', () => running.delete(this.#process));
  }

  get pid() {
    return this.#process.pid;
  }

  get hasEnded() {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** What it prints until it ends. */
  async output() {
    let text = '';
    for await (const chunk of this.#process.stdout.setEncoding('utf8')) text += chunk;
    await this.#ended;
    return text;
  }

  /** Asks it to end; after a deadline ends it and all that descends from it. */
  async stop() {
    if (this.hasEnded) return;
    const ids = family(this.pid);
    this.#process.kill('SIGTERM');
    const deadline = new AbortController();
    await Promise.race([this.#ended, pause(stopDeadline, undefined, deadline)]);
    deadline.abort();
    if (!this.hasEnded) {
      for (const id of ids) kill(id);
      await this.#ended;
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

function kill(id) {
  try {
    process.kill(id, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
