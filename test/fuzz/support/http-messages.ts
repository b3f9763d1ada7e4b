import { METHODS } from 'node:http';

/** A request as its bytes say, where they can mean only one thing. */
export interface Message {
  readonly method: string;
  readonly target: string;
  /** In Latin-1. */
  readonly body: string;
}

/** What a stream of bytes says by RFC 9112 read strictly. */
export interface Stream {
  readonly messages: readonly Message[];
  /** Of the messages, and of one that is cut or bad where it has any. */
  readonly methods: readonly string[];
  /**
   * How it goes on after those: `clean` not at all, or with what nobody reads, since the last one closes the connection;
   * `cut` in the middle of a message; `bad` with bytes that are not HTTP, or whose end two readers could see in two places.
   */
  readonly end: 'clean' | 'cut' | 'bad';
  /** The last message closes the connection. */
  readonly closes: boolean;
  /** The messages have forms that a server may also refuse. */
  readonly isOdd: boolean;
}

const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/;

class Cut extends Error {}
class Bad extends Error {}

/** Reads requests. It shares no code with Node's parser. */
export function readStream(text: string): Stream {
  const messages: Message[] = [];
  const reader = new Reader(text);
  const { methods } = reader;
  const ended = (end: Stream['end'], closes = false): Stream => ({
    messages,
    methods,
    end,
    closes,
    isOdd: reader.isOdd,
  });
  try {
    for (;;) {
      while (reader.skipsLineEnd()) reader.isOdd = true;
      if (reader.isAtEnd) return ended('clean');
      const { message, closes } = readMessage(reader);
      messages.push(message);
      if (closes) return ended('clean', true);
    }
  } catch (error) {
    if (error instanceof Cut) return ended('cut');
    if (error instanceof Bad) return ended('bad');
    throw error;
  }
}

class Reader {
  isOdd = false;
  readonly methods: string[] = [];
  #at = 0;
  constructor(readonly text: string) {}

  get isAtEnd(): boolean {
    return this.#at >= this.text.length;
  }

  /** Section 2.2 lets a server ignore empty lines before a request, however they end. */
  skipsLineEnd(): boolean {
    if (!'\r\n'.includes(this.text[this.#at] ?? 'none')) return false;
    this.#at += 1;
    return true;
  }

  /** Up to CRLF. A line feed alone ends a line for some readers, and so a line must not have one. */
  line(): string {
    const end = this.text.indexOf('\r\n', this.#at);
    const line = this.text.slice(this.#at, end < 0 ? undefined : end);
    if (/[\r\n\0]/.test(end < 0 ? line.replace(/\r$/, '') : line)) throw new Bad();
    if (end < 0) throw new Cut();
    this.#at = end + 2;
    return line;
  }

  bytes(count: number): string {
    if (count > this.text.length - this.#at) throw new Cut();
    this.#at += count;
    return this.text.slice(this.#at - count, this.#at);
  }
}

function readMessage(reader: Reader): { message: Message; closes: boolean } {
  const line = reader.line();
  reader.methods.push(line.split(' ', 1)[0]!);
  const [, method = '', target = '', minor] = /^(\S+) +([!-~\x80-\xff]+) +HTTP\/1\.([01])$/.exec(line) ?? [];
  if (!TOKEN.test(method)) throw new Bad();
  // Section 3 lets a server split the line at any number of blanks. A target has no fragment, and is ASCII.
  if (line.includes('  ') || /[#\x80-\xff]/.test(target) || !METHODS.includes(method)) reader.isOdd = true;
  const headers = readFields(reader);
  const values = (name: string) => headers.filter(([each]) => each === name).map(([, value]) => value);
  if (values('host').length !== 1) reader.isOdd = true;
  if (values('expect').some((value) => value !== '100-continue') || values('expect').length > 1)
    reader.isOdd = true;
  const [coding, ...codings] = values('transfer-encoding');
  const lengths = values('content-length');
  let body = '';
  if (coding !== undefined) {
    if (codings.length > 0 || lengths.length > 0 || minor === '0' || coding.toLowerCase() !== 'chunked')
      throw new Bad();
    body = readChunks(reader);
  } else if (lengths.length > 0) {
    if (lengths.length > 1 || !/^\d{1,15}$/.test(lengths[0]!)) throw new Bad();
    body = reader.bytes(Number(lengths[0]));
  }
  const connection = values('connection')
    .join()
    .toLowerCase()
    .split(',')
    .map((each) => each.trim());
  return {
    message: { method, target, body },
    closes: connection.includes('close') || (minor === '0' && !connection.includes('keep-alive')),
  };
}

function readFields(reader: Reader): [string, string][] {
  const fields: [string, string][] = [];
  for (let line = reader.line(); line !== ''; line = reader.line()) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    const value = line
      .slice(colon + 1)
      .replace(/^[ \t]+/, '')
      .replace(/[ \t]+$/, '');
    if (!TOKEN.test(name) || /[^\t -~\x80-\xff]/.test(value)) throw new Bad();
    fields.push([name.toLowerCase(), value]);
  }
  return fields;
}

function readChunks(reader: Reader): string {
  let body = '';
  for (;;) {
    const [, size, extension = ''] = /^([\da-f]{1,16})((?:;.*)?)$/i.exec(reader.line()) ?? [];
    if (size === undefined) throw new Bad();
    if (extension !== '') reader.isOdd = true;
    if (Number.parseInt(size, 16) === 0) break;
    body += reader.bytes(Number.parseInt(size, 16));
    if (reader.bytes(2) !== '\r\n') throw new Bad();
  }
  if (readFields(reader).length > 0) reader.isOdd = true;
  return body;
}

export interface Response {
  readonly status: number;
  readonly body: string;
  /** It says that the connection closes. */
  readonly closes: boolean;
}

/** The responses in what a server has sent, those of 1xx left out; throws where it is anything else. */
export function readResponses(text: string, methods: readonly string[]): Response[] {
  const responses: Response[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf('\r\n\r\n', at);
    const [, code] = /^HTTP\/1\.1 (\d{3}) [ -~]*\r\n/.exec(text.slice(at, end + 2)) ?? [];
    if (end < 0 || code === undefined)
      throw new Error(`not a response: ${JSON.stringify(text.slice(at, at + 200))}`);
    const head = text.slice(at, end + 2);
    const status = Number(code);
    at = end + 4;
    if (status < 200) continue;
    const [, length] = /\r\ncontent-length: *(\d+)\r\n/i.exec(head) ?? [];
    const isChunked = /\r\ntransfer-encoding: *chunked\r\n/i.test(head);
    let body = '';
    // What is no HTTP has no method that the server could know.
    const isHead = methods[responses.length] === 'HEAD' && text.length !== at + Number(length);
    if (isHead || status === 204 || status === 304) body = '';
    else if (isChunked) {
      for (;;) {
        const lineEnd = text.indexOf('\r\n', at);
        const size = Number.parseInt(text.slice(at, lineEnd), 16);
        body += text.slice(lineEnd + 2, lineEnd + 2 + size);
        at = lineEnd + 2 + size + 2;
        if (size === 0) break;
        if (!(size > 0) || lineEnd < 0) throw new Error('not a chunk');
      }
    } else if (length !== undefined) {
      body = text.slice(at, at + Number(length));
      at += Number(length);
    } else throw new Error(`a response without a length: ${JSON.stringify(head)}`);
    if (at > text.length) throw new Error(`a response that was cut: ${JSON.stringify(head)}`);
    responses.push({ status, body, closes: /\r\nconnection: close\r\n/i.test(head) });
  }
  return responses;
}
