import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './children.mjs';
import { contestants } from './contestants.mjs';
import { serverCore } from './machine.mjs';

const program = fileURLToPath(new URL('peers/calls.mjs', import.meta.url));

/** A contestant that is called within its process, without a request: a library beside the one that it is built on. */
export class Calls {
  #kind;
  #operation;
  #folder;

  /**
   * @param {string} name of contestants.mjs
   * @param {object} row of rows.mjs; its `operation` is `get` or `set`
   * @param {string} root where folders are made
   */
  static async open(name, { operation }, root) {
    const calls = new Calls();
    calls.#kind = contestants.get(name).calls;
    calls.#operation = operation;
    calls.#folder = mkdtempSync(join(root, 'calls-'));
    return calls;
  }

  /** Calls for some seconds. Gives calls a second, and microseconds of processor time a call. */
  async underCalls(seconds) {
    const args = [program, this.#kind, this.#operation, this.#folder, String(seconds)];
    const child = new Child(serverCore, [process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const text = await child.output();
    if (text === '') throw new Error(`${this.#kind} ended without figures`);
    return JSON.parse(text);
  }

  async close() {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
