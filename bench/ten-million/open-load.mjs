import { connect } from 'node:net';
import { wireText } from '../http.mjs';

/** Connections of the clients: a request waits, on the clock of its schedule, while all are in use. */
const connections = 64;

/**
 * Sends requests on a fixed schedule, whether responses come or not. Each latency is measured from the time for which its
 * request was scheduled, so that a server which stands still is charged for every request of that time (coordinated
 * omission).
 *
 * @param {object} options
 * @param {number} options.port
 * @param {number} options.rate requests a second
 * @param {number} [options.seconds] how long, unless `until` resolves earlier
 * @param {Promise<unknown>} [options.until]
 * @param {() => object} options.next gives a request
 * @returns {Promise<object>} see `summary`
 */
export async function openLoad({ port, rate, seconds = Number.POSITIVE_INFINITY, until, next }) {
  const load = new Load(port, next);
  const begun = performance.now();
  const end = begun + seconds * 1000;
  let isOver = false;
  // Whoever made the promise also hears why it was rejected.
  until
    ?.catch(() => {})
    .then(() => {
      isOver = true;
    });
  let scheduled = 0;
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const now = performance.now();
      for (; scheduled < ((Math.min(now, end) - begun) / 1000) * rate; scheduled++)
        load.request(begun + (scheduled / rate) * 1000);
      if (now < end && !isOver) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
  await load.drained(10_000);
  return { rate: Math.round(rate), ...summary(load, begun) };
}

/** As many in a row as each connection can. */
export async function closedLoad({ port, seconds, next }) {
  const load = new Load(port, next);
  load.repeats = true;
  const begun = performance.now();
  for (let i = 0; i < connections; i++) load.request(begun);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  load.repeats = false;
  await load.drained(10_000);
  return summary(load, begun);
}

/** Latencies in milliseconds, to a hundredth; `refused` counts responses of 503, `gone` those of 404. */
function summary({ all, bySecond, refused, gone, wrong, unanswered }, begun) {
  if (wrong.length > 0) throw new Error(`${wrong.length} wrong responses: ${wrong[0]}`);
  const throughput = Math.round(all.count / ((performance.now() - begun) / 1000));
  const seconds = Array.from(bySecond, (second) => second && [second.quantile(0.99), rounded(second.max)]);
  const [p50, p99] = [0.5, 0.99].map((share) => all.quantile(share));
  return {
    count: all.count,
    throughput,
    p50,
    p99,
    max: rounded(all.max),
    refused,
    gone,
    unanswered,
    seconds,
  };
}

function rounded(milliseconds) {
  return Math.round(milliseconds * 100) / 100;
}

/** Counts of latencies, in steps of one per cent from a hundredth of a millisecond to more than a minute. */
class Histogram {
  count = 0;
  max = 0;
  #counts = new Uint32Array(1600);

  add(milliseconds) {
    this.count += 1;
    this.max = Math.max(this.max, milliseconds);
    const step = Math.ceil(Math.log(Math.max(1, milliseconds * 100)) / Math.log(1.01));
    this.#counts[Math.min(step, this.#counts.length - 1)] += 1;
  }

  quantile(share) {
    let left = this.count * share;
    const step = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return rounded(Math.min(this.max, 1.01 ** step / 100));
  }
}

class Load {
  all = new Histogram();
  bySecond = [];
  wrong = [];
  refused = 0;
  gone = 0;
  unanswered = 0;
  repeats = false;
  #idle = [];
  #all = [];
  #due = [];
  #first = 0;
  #port;
  #next;
  #begun = performance.now();

  constructor(port, next) {
    this.#port = port;
    this.#next = next;
    for (let i = 0; i < connections; i++) {
      const connection = new Connection(port, (answer) => this.#answered(connection, answer));
      this.#all.push(connection);
      this.#idle.push(connection);
    }
  }

  request(scheduled) {
    this.#due.push(scheduled);
    this.#send();
  }

  #send() {
    while (this.#idle.length > 0 && this.#first < this.#due.length) {
      this.#idle.shift().send(wireText(this.#port, this.#next()), this.#due[this.#first++]);
    }
    if (this.#first < 10_000) return;
    this.#due = this.#due.slice(this.#first);
    this.#first = 0;
  }

  #answered(connection, { status, text, at }) {
    if (status === 404) this.gone += 1;
    if (status === 200 || status === 404) this.#count(at);
    else if (status === 503) this.refused += 1;
    else this.wrong.push(text.slice(0, 300));
    this.#idle.push(connection);
    if (this.repeats) this.request(performance.now());
    else this.#send();
  }

  #count(at) {
    const latency = performance.now() - at;
    this.all.add(latency);
    const second = Math.floor((at - this.#begun) / 1000);
    this.bySecond[second] ??= new Histogram();
    this.bySecond[second].add(latency);
  }

  /** Waits for outstanding responses. */
  async drained(milliseconds) {
    const until = performance.now() + milliseconds;
    const isDone = () => this.#idle.length === this.#all.length && this.#first === this.#due.length;
    while (!isDone() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
    this.unanswered = this.#due.length - this.#first + this.#all.length - this.#idle.length;
    for (const connection of this.#all) connection.close();
  }
}

class Connection {
  #socket;
  #port;
  #onAnswer;
  #text = '';
  #at;

  constructor(port, onAnswer) {
    this.#port = port;
    this.#onAnswer = onAnswer;
    this.#open();
  }

  #open() {
    this.#socket = connect(this.#port, '127.0.0.1').setNoDelay(true).setEncoding('latin1');
    this.#socket.on('data', (text) => this.#receive(text));
    this.#socket.on('error', () => {});
  }

  send(text, scheduled) {
    this.#at = scheduled;
    if (this.#socket.destroyed || this.#socket.readableEnded) this.#open();
    this.#socket.write(text);
  }

  #receive(text) {
    // The server closes a connection that it heard nothing of for long, and says so.
    if (this.#at === undefined) {
      this.#socket.destroy();
      return;
    }
    this.#text += text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/\r\nContent-Length: (\d+)/i.exec(this.#text)?.[1] ?? 0);
    if (this.#text.length < head + 4 + length) return;
    const answer = { status: Number(this.#text.slice(9, 12)), text: this.#text, at: this.#at };
    // A refused request can be the last of its connection.
    if (/\r\nConnection: close/i.test(this.#text)) this.#socket.destroy();
    this.#text = '';
    this.#at = undefined;
    this.#onAnswer(answer);
  }

  close() {
    this.#socket.destroy();
  }
}
