import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { constants, deflateRawSync } from 'node:zlib';
import { expect } from 'chai';
import { type ClientOptions, WebSocket } from 'ws';
import { startServer, type TestServer } from '../../../support/server.js';

/** Echoes what it is sent, with and without compression. */
const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ websocket }) {
    const echo = (socket) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    };
    websocket('/plain', echo);
    websocket('/compressed', { perMessageDeflate: true, maxPayload: 200_000 }, echo);
  },
});`;

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

interface FrameOptions {
  /** Whether it ends its message; true by default. */
  readonly fin?: boolean;
  /** Reserved bits: 4, 2, 1. */
  readonly rsv?: number;
  readonly masked?: boolean;
}

/** A frame as a client sends it (RFC 6455 section 5.2). The mask changes every byte. */
function frame(
  opcode: number,
  content: string | Buffer = '',
  { fin = true, rsv = 0, masked = true }: FrameOptions = {},
): Buffer {
  const payload = Buffer.from(content);
  const { length } = payload;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const mask = masked ? 0x80 : 0;
  const head =
    length < 126
      ? Buffer.from([first, mask | length])
      : length < 65_536
        ? Buffer.from([first, mask | 126, length >> 8, length & 255])
        : Buffer.concat([Buffer.from([first, mask | 127, 0, 0, 0, 0]), uint32(length)]);
  if (!masked) return Buffer.concat([head, payload]);
  const key = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  return Buffer.concat([head, key, payload.map((byte, i) => byte ^ key[i % 4]!)]);
}

const part = (opcode: number, content: string | Buffer, rsv = 0) =>
  frame(opcode, content, { fin: false, rsv });
const close = (code: number, reason: string | Buffer = '') =>
  frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

/** A connection whose WebSocket has been opened, for bytes that no client library sends. */
class Wire {
  #received: Buffer = Buffer.alloc(0);
  #ended = false;

  private constructor(readonly socket: Socket) {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
    });
    socket.on('close', () => {
      this.#ended = true;
    });
  }

  static async open(port: number, path: string, extensions = ''): Promise<Wire> {
    const wire = new Wire(connect(port, '127.0.0.1'));
    const lines = [
      `GET /try/${path} HTTP/1.1`,
      'Host: localhost',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...(extensions === '' ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
    ];
    wire.socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    while (!wire.#received.includes('\r\n\r\n')) await once(wire.socket, 'data');
    const end = wire.#received.indexOf('\r\n\r\n') + 4;
    expect(wire.#received.toString('latin1', 0, end)).to.match(/^HTTP\/1\.1 101 /);
    wire.#received = wire.#received.subarray(end);
    return wire;
  }

  /** The next frame of the server; undefined when the connection has ended. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const [first, length = 0] = this.#received;
      const size = length === 126 ? 2 : length === 127 ? 8 : 0;
      if (first !== undefined && this.#received.length >= 2 + size) {
        // The server masks nothing.
        const whole =
          size === 0
            ? length
            : size === 2
              ? this.#received.readUInt16BE(2)
              : Number(this.#received.readBigUInt64BE(2));
        if (this.#received.length >= 2 + size + whole) {
          const payload = this.#received.subarray(2 + size, 2 + size + whole);
          this.#received = this.#received.subarray(2 + size + whole);
          return { opcode: first & 15, payload };
        }
      }
      if (this.#ended) return undefined;
      await Promise.race([once(this.socket, 'data'), once(this.socket, 'close')]);
    }
  }
}

/** What the server sends: `text x`, `binary 00ff`, `pong x`, and in the end `close CODE`. */
function shown({ opcode, payload }: Frame): string {
  const bytes = payload.length > 100 ? `${payload.length} bytes` : payload.toString();
  if (opcode === CLOSE) return payload.length === 0 ? 'close' : `close ${payload.readUInt16BE(0)}`;
  if (opcode === BINARY) return `binary ${payload.length > 100 ? bytes : payload.toString('hex')}`;
  return `${opcode === TEXT ? 'text' : opcode === PONG ? 'pong' : `opcode ${opcode}`} ${bytes}`;
}

type Case = readonly [what: string, sent: readonly Buffer[], expected: readonly string[]];

const bye = close(1000);
const lengths = [0, 125, 126, 127, 128, 65_535, 65_536];
const star = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!');
const violation = ['close 1002'];
const notText = ['close 1007'];

/** In the groups of the Autobahn test suite. */
const groups: Readonly<Record<string, readonly Case[]>> = {
  'messages of every form of length': lengths.flatMap((length): Case[] => [
    [
      `text of ${length} bytes`,
      [frame(TEXT, '*'.repeat(length)), bye],
      [length > 100 ? `text ${length} bytes` : 'text ', 'close 1000'],
    ],
    [
      `${length} bytes`,
      [frame(BINARY, Buffer.alloc(length, 0xfe)), bye],
      [length > 100 ? `binary ${length} bytes` : 'binary ', 'close 1000'],
    ],
  ]),
  'pings and pongs': [
    ['an empty ping', [frame(PING), bye], ['pong ', 'close 1000']],
    ['a ping with text', [frame(PING, 'Hello'), bye], ['pong Hello', 'close 1000']],
    ['a ping of 125 bytes', [frame(PING, Buffer.alloc(125, 0xfe)), bye], ['pong 125 bytes', 'close 1000']],
    ['a ping of 126 bytes', [frame(PING, Buffer.alloc(126))], violation],
    ['a pong that nobody asked for', [frame(PONG, 'x'), frame(PING, 'y'), bye], ['pong y', 'close 1000']],
    [
      'ten pings',
      [...Array.from({ length: 10 }, (_, i) => frame(PING, `${i}`)), bye],
      [...Array.from({ length: 10 }, (_, i) => `pong ${i}`), 'close 1000'],
    ],
  ],
  'reserved bits': [1, 2, 3, 4, 5, 6, 7].flatMap((rsv): Case[] => [
    [`${rsv} in text`, [frame(TEXT, 'x'), frame(TEXT, 'y', { rsv }), frame(PING)], ['text x', ...violation]],
    [`${rsv} in a ping`, [frame(PING, '', { rsv })], violation],
    [`${rsv} in a close`, [frame(CLOSE, '', { rsv })], violation],
  ]),
  'reserved opcodes': [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): Case => {
    return [
      `opcode ${opcode}`,
      [frame(TEXT, 'x'), frame(opcode, 'y'), frame(PING)],
      ['text x', ...violation],
    ];
  }),
  fragments: [
    ['a fragmented ping', [part(PING, 'x'), frame(0, 'y')], violation],
    ['a fragmented pong', [part(PONG, 'x'), frame(0, 'y')], violation],
    ['two parts', [part(TEXT, 'one '), frame(0, 'two'), bye], ['text one two', 'close 1000']],
    [
      'parts with pings in between',
      [part(TEXT, 'one '), frame(PING, '1'), part(0, 'two '), frame(PING, '2'), frame(0, 'three'), bye],
      ['pong 1', 'pong 2', 'text one two three', 'close 1000'],
    ],
    ['empty parts', [part(TEXT, ''), part(0, ''), frame(0, ''), bye], ['text ', 'close 1000']],
    ['a last part of nothing', [frame(0, 'x'), frame(TEXT, 'y')], violation],
    ['a part of nothing', [part(0, 'x'), frame(TEXT, 'y')], violation],
    ['a last part after a whole message', [frame(TEXT, 'x'), frame(0, 'y')], ['text x', ...violation]],
    ['a message within another', [part(TEXT, 'x'), frame(TEXT, 'y')], violation],
    [
      'a message in 1,300 parts',
      [part(TEXT, '*'), ...Array.from({ length: 1298 }, () => part(0, '*'.repeat(50))), frame(0, '*'), bye],
      ['text 64902 bytes', 'close 1000'],
    ],
  ],
  'UTF-8': [
    ['text of several bytes a character', [frame(TEXT, star), bye], [`text ${star}`, 'close 1000']],
    [
      'a character in two parts',
      [part(TEXT, star.subarray(0, 7)), frame(0, star.subarray(7)), bye],
      [`text ${star}`, 'close 1000'],
    ],
    [
      'a part for each byte',
      [part(TEXT, ''), ...Array.from(star, (byte) => part(0, Buffer.from([byte]))), frame(0, ''), bye],
      [`text ${star}`, 'close 1000'],
    ],
    ...['efbfbf', 'f48fbfbf', 'ed9fbf', 'ee8080', 'f0908080', '00', '7f', 'c280', 'e0a080'].map(
      (hex): Case => [
        `${hex}, which is valid`,
        [frame(TEXT, Buffer.from(hex, 'hex')), bye],
        [`text ${Buffer.from(hex, 'hex')}`, 'close 1000'],
      ],
    ),
    ...[
      ['80', 'a continuation'],
      ['c0af', 'an overlong slash'],
      ['e080af', 'a longer one'],
      ['f08080af', 'the longest'],
      ['c3', 'a start without its end'],
      ['c320', 'a start before a blank'],
      ['eda080', 'a surrogate'],
      ['edb080', 'the other half'],
      ['eda080edb080', 'both halves'],
      ['f4908080', 'what lies beyond U+10FFFF'],
      ['f8888080', 'five bytes'],
      ['fc8480808080', 'six bytes'],
      ['fe', 'fe'],
      ['ff', 'ff'],
    ].map(
      ([hex, what]): Case => [
        `${what}, which is not`,
        [frame(TEXT, Buffer.concat([star, Buffer.from(hex!, 'hex')]))],
        notText,
      ],
    ),
    [
      'a broken character at the end of the parts',
      [part(TEXT, 'x'), frame(0, Buffer.from('c3', 'hex'))],
      notText,
    ],
    ['the same bytes as binary', [frame(BINARY, Buffer.from('c3', 'hex')), bye], ['binary c3', 'close 1000']],
  ],
  closing: [
    ['an empty close', [frame(CLOSE)], ['close']],
    ['a close twice', [bye, bye], ['close 1000']],
    ['a ping after the close', [bye, frame(PING)], ['close 1000']],
    ['text after the close', [bye, frame(TEXT, 'x')], ['close 1000']],
    ['a close within a message', [part(TEXT, 'x'), bye, frame(0, 'y')], ['close 1000']],
    ['a close of one byte', [frame(CLOSE, 'x')], violation],
    ['a reason of 123 bytes', [close(1000, '*'.repeat(123))], ['close 1000']],
    ['a reason of 124 bytes', [close(1000, '*'.repeat(124))], violation],
    ['a reason that is not UTF-8', [close(1000, Buffer.from([0xce, 0xba, 0xe1]))], notText],
    ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map(
      (code): Case => [`code ${code}`, [close(code)], [`close ${code}`]],
    ),
    ...[0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535].map(
      (code): Case => [`code ${code}, which nobody may send`, [close(code)], violation],
    ),
  ],
  'the rest of the format': [
    ['a frame without a mask', [frame(TEXT, 'x', { masked: false })], violation],
    [
      'a length with its highest bit set',
      [Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0])],
      ['close 1009'],
    ],
    ['what looks like HTTP', [Buffer.from('GET / HTTP/1.1\r\n\r\n')], violation],
  ],
};

describe('the framing of a WebSocket', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ files: { 'plugins/try.mjs': plugin } });
  });
  after(() => server.close());

  const talk = async (wire: Wire, expected: readonly string[]) => {
    const seen: string[] = [];
    for (;;) {
      const next = await wire.next();
      if (next === undefined) break;
      seen.push(shown(next));
      if (next.opcode === CLOSE) wire.socket.end();
    }
    expect(seen).to.deep.equal(expected);
  };

  for (const [group, cases] of Object.entries(groups)) {
    it(`holds for ${group} (${cases.length} cases)`, async () => {
      for (const [what, sent, expected] of cases) {
        const wire = await Wire.open(server.host.address.port, 'plain');
        wire.socket.write(Buffer.concat(sent));
        await talk(wire, expected).catch((error) => {
          error.message = `${what}: ${error.message}`;
          throw error;
        });
      }
    });
  }

  it('holds for bytes that arrive one by one', async () => {
    const wire = await Wire.open(server.host.address.port, 'plain');
    wire.socket.setNoDelay();
    const all = Buffer.concat([frame(PING, 'Hello'), part(TEXT, 'one '), frame(0, 'two'), bye]);
    for (const byte of all) await new Promise((resolve) => wire.socket.write(Buffer.from([byte]), resolve));
    await talk(wire, ['pong Hello', 'text one two', 'close 1000']);
  });

  const compressed = (text: string) =>
    deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  for (const [what, sent, expected] of [
    ['a compressed ping', [frame(PING, 'x', { rsv: 4 })], violation],
    [
      'a part that says it is compressed',
      [part(TEXT, compressed('x'), 4), frame(0, 'y', { rsv: 4 })],
      violation,
    ],
    ['data that cannot be decompressed', [frame(TEXT, Buffer.from([0xff, 0xff]), { rsv: 4 })], notText],
    [
      'a few bytes that become more than maxPayload',
      [frame(TEXT, compressed('x'.repeat(200_001)), { rsv: 4 })],
      ['close 1009'],
    ],
    [
      'compressed text that is not UTF-8',
      [
        frame(
          TEXT,
          deflateRawSync(Buffer.from([0xff]), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4),
          { rsv: 4 },
        ),
      ],
      notText,
    ],
  ] as const satisfies readonly Case[]) {
    it(`holds for ${what}`, async () => {
      const wire = await Wire.open(server.host.address.port, 'compressed', 'permessage-deflate');
      wire.socket.write(Buffer.concat(sent));
      await talk(wire, expected);
    });
  }

  it('compresses by the parameters that a client offers', async () => {
    const offers: ClientOptions['perMessageDeflate'][] = [
      {},
      { serverNoContextTakeover: true },
      { clientNoContextTakeover: true },
      { serverNoContextTakeover: true, clientNoContextTakeover: true },
      { serverMaxWindowBits: 9 },
      { clientMaxWindowBits: 9 },
      { serverMaxWindowBits: 15, clientMaxWindowBits: 15 },
    ];
    for (const perMessageDeflate of offers) {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/try/compressed`, {
        perMessageDeflate: { threshold: 0, ...(perMessageDeflate as object) },
      });
      await once(socket, 'open');
      expect(socket.extensions).to.contain('permessage-deflate');
      for (const size of [0, 16, 64, 1024, 8192, 131_072, 16, 8192]) {
        const text = JSON.stringify({ size, filling: 'lorem ipsum '.repeat(size / 12) }).slice(0, size);
        socket.send(text);
        const [echoed] = await once(socket, 'message');
        expect(String(echoed)).to.equal(text);
      }
      socket.terminate();
    }
  });

  it('tells the log nothing but that the sockets closed', () => {
    expect(server.logs.filter(({ level }) => level !== 'info')).to.deep.equal([]);
  });
});
