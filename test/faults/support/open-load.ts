import { connect, type Socket } from 'node:net';

export interface Load {
  /** Answers of 200, and of 503, in the time. */
  ok: number;
  refused: number;
  /** Milliseconds until the slowest of each. */
  slowestOk: number;
  slowestRefused: number;
  /** Milliseconds, of all refusals. */
  readonly refusals: number[];
  readonly wrong: string[];
}

/**
 * Sends one GET so many times a second, whether answers come or not, each on a connection that has none outstanding: the
 * load of very many clients that know nothing of each other. It counts for so many milliseconds after those of the ramp.
 */
export async function openLoad(
  url: string,
  path: string,
  rate: number,
  ramp: number,
  milliseconds: number,
): Promise<Load> {
  const load: Load = { ok: 0, refused: 0, slowestOk: 0, slowestRefused: 0, refusals: [], wrong: [] };
  const idle: Connection[] = [];
  const all = new Set<Connection>();
  const port = Number(new URL(url).port);
  const begun = performance.now();
  let sent = 0;
  let counting = false;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const elapsed = performance.now() - begun;
      if (elapsed >= ramp && !counting) {
        counting = true;
        Object.assign(load, { ok: 0, refused: 0, slowestOk: 0, slowestRefused: 0 });
        load.refusals.length = 0;
      }
      if (elapsed >= ramp + milliseconds) {
        clearInterval(timer);
        resolve();
        return;
      }
      for (; sent < (elapsed / 1000) * rate; sent += 1) {
        let connection = idle.pop();
        if (connection === undefined) {
          connection = new Connection(
            port,
            path,
            load,
            (self) => idle.push(self),
            (self) => all.delete(self),
          );
          all.add(connection);
        }
        connection.send();
      }
    }, 5);
  });
  for (const connection of all) connection.close();
  return load;
}

/** As many in a row as one connection each can. */
export async function closedLoad(
  url: string,
  path: string,
  connections: number,
  milliseconds: number,
): Promise<Load> {
  const load: Load = { ok: 0, refused: 0, slowestOk: 0, slowestRefused: 0, refusals: [], wrong: [] };
  const port = Number(new URL(url).port);
  const all = Array.from(
    { length: connections },
    () =>
      new Connection(
        port,
        path,
        load,
        (self) => self.send(),
        () => {},
      ),
  );
  for (const connection of all) connection.send();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  for (const connection of all) connection.close();
  return load;
}

class Connection {
  readonly #socket: Socket;
  readonly #request: string;
  #text = '';
  #since = 0;
  #outstanding = false;
  #closing = false;

  constructor(
    port: number,
    path: string,
    load: Load,
    onIdle: (self: Connection) => void,
    onClosed: (self: Connection) => void,
  ) {
    this.#request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.setNoDelay(true);
    this.#socket.on('data', (chunk) => {
      this.#text += chunk;
      if (!isWhole(this.#text)) return;
      this.#count(load);
      const closes = /\r\nConnection: close/i.test(this.#text);
      this.#text = '';
      this.#outstanding = false;
      if (!closes) onIdle(this);
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      if (!this.#closing && this.#outstanding) load.wrong.push('a connection was closed without an answer');
      onClosed(this);
    });
  }

  send(): void {
    this.#outstanding = true;
    this.#since = performance.now();
    this.#socket.write(this.#request);
  }

  close(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  #count(load: Load): void {
    const ms = performance.now() - this.#since;
    if (this.#closing) return;
    if (this.#text.startsWith('HTTP/1.1 200 ')) {
      load.ok += 1;
      load.slowestOk = Math.max(load.slowestOk, ms);
    } else if (this.#text.startsWith('HTTP/1.1 503 ') && /\r\nRetry-After: \d/.test(this.#text)) {
      load.refused += 1;
      load.refusals.push(ms);
      load.slowestRefused = Math.max(load.slowestRefused, ms);
    } else load.wrong.push(this.#text.slice(0, 200));
  }
}

/** Whether a whole answer is there: its head, and as much of a body as that says. */
function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = Number(/\r\nContent-Length: (\d+)/i.exec(text)?.[1] ?? 0);
  return text.length >= end + 4 + length;
}
