import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { startServer } from '../../support/server.js';
import { type Message, type Response, readResponses, readStream } from '../support/http-messages.js';
import type { Target } from '../target.js';

/** Lines of a head by which proxies and servers have been led to see two different ends of one request. */
const framing = fc.constantFrom(
  ...[
    'Content-Length: N',
    'Content-Length: N',
    'Content-Length: N',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked',
  ],
  ...[
    'Content-Length: 0',
    'Content-Length: 3',
    'Content-Length: 9999',
    'Content-Length: +N',
    'Content-Length: -1',
    'Content-Length: N, N',
    'Content-Length: N N',
    'Content-Length: 0N',
    'Content-Length: 0xN',
    'Content-Length:',
    'Content-Length : N',
    'Content-Length: N\xa0',
    'Content-Length: N\0',
    'Content-Length: N;',
    'Content-Length: 18446744073709551616',
    '\u000bContent-Length: N',
    'Content-Length\t: N',
    'Content-Length: "N"',
    'Content_Length: N',
  ],
  ...[
    'transfer-ENCODING: CHUNKED',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding:chunked',
    'Transfer-Encoding: \u000bchunked',
    'Transfer-Encoding: chunked\xa0',
    'Transfer-Encoding: chunked ',
    'Transfer-Encoding: chunked\0',
    'Transfer-Encoding: "chunked"',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding: identity, chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding: chunked, chunked',
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding: chunked;x',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding:',
    'Transfer-Encoding:\r\n chunked',
    ' Transfer-Encoding: chunked',
    'Transfer-Encoding',
    'Transfer\\-Encoding: chunked',
  ],
  ...[
    'X: y\nContent-Length: N',
    'X: y\rContent-Length: N',
    'X: y\n\nTransfer-Encoding: chunked',
    'X:\r\n\tTransfer-Encoding: chunked',
    'X: y\n Transfer-Encoding: chunked',
  ],
);
const otherLine = fc.constantFrom(
  'A: b',
  'A:',
  'A: b, c',
  'Connection: keep-alive',
  'Connection: close',
  'Expect: 100-continue',
  'Expect: 200-ok',
  'Accept: \xff',
  'A: \x01',
  'A: \x7f',
  ': b',
  'A b: c',
  'A',
  '\tA: b',
  'Host: localhost',
  'Host: other',
  'Content-Type: application/json',
  'TE: trailers',
  'Trailer: Content-Length',
  'Connection: Content-Length',
  'A: b\r',
  `Long: ${'x'.repeat(3000)}`,
);
const bodyText = fc.oneof(
  fc.constantFrom(
    '',
    '',
    'abc',
    '{}',
    '0\r\n\r\n',
    '\r\n',
    'GET /edge/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n',
    '3\r\nabc\r\n0\r\n\r\nGET /edge/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'POST /edge/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n',
  ),
  fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 30 }),
);

/** How the text of a body is cut into chunks, and what is odd about them. */
const chunking = fc.record({
  size: fc.integer({ min: 1, max: 40 }),
  upper: fc.boolean(),
  oddities: fc.array(
    fc.constantFrom(
      'zeros',
      'extension',
      'quoted',
      'blank',
      'newline',
      'prefix',
      'plus',
      'overflow',
      'long',
      'short',
      'noEnd',
      'trailer',
      'trailerLength',
      'badTrailer',
      'lastZeros',
      'lfEnd',
      'lfData',
      'crExtension',
      'negative',
      'empty',
    ),
    { minLength: 1, maxLength: 2 },
  ),
});
type Chunking = typeof chunking extends fc.Arbitrary<infer T> ? T : never;

function chunks(text: string, { size, upper, oddities }: Chunking): string {
  const is = (name: string) => oddities.includes(name as never);
  let result = '';
  for (let at = 0; at < text.length; at += size) {
    const piece = text.slice(at, at + size);
    const isFirst = at === 0;
    const length = piece.length + (isFirst && is('long') ? 1 : 0) - (isFirst && is('short') ? 1 : 0);
    let digits = length.toString(16);
    if (upper) digits = digits.toUpperCase();
    if (isFirst && is('zeros')) digits = `000${digits}`;
    if (isFirst && is('prefix')) digits = `0x${digits}`;
    if (isFirst && is('plus')) digits = `+${digits}`;
    if (isFirst && is('negative')) digits = `-${digits}`;
    if (isFirst && is('empty')) digits = '';
    if (isFirst && is('overflow')) digits = `1000000000000000${digits}`;
    if (isFirst && is('blank')) digits += ' ';
    if (isFirst && is('extension')) digits += ';a=b';
    if (isFirst && is('quoted')) digits += ';a="b;c"';
    if (isFirst && is('crExtension')) digits += ';a\rb';
    if (isFirst && is('newline')) digits += ';a\nb';
    result +=
      digits + (isFirst && is('lfEnd') ? '\n' : '\r\n') + piece + (isFirst && is('lfData') ? '\n' : '\r\n');
  }
  const trailer = is('trailer')
    ? 'A: b\r\n'
    : is('trailerLength')
      ? 'Content-Length: 50\r\n'
      : is('badTrailer')
        ? 'GET /edge/x HTTP/1.1\r\n'
        : '';
  return `${result + (is('lastZeros') ? '000' : '0')}\r\n${trailer}${is('noEnd') ? '' : '\r\n'}`;
}

const honest = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'),
  start: fc.constantFrom('METHOD /edge/I HTTP/1.1'),
  framing: fc.constantFrom<readonly string[]>([], ['Content-Length: N'], ['Transfer-Encoding: chunked']),
  others: fc.constantFrom<readonly string[]>(
    [],
    [],
    ['A: b'],
    ['Connection: keep-alive'],
    ['Content-Type: application/json'],
  ),
  host: fc.constant('Host: localhost'),
  body: bodyText,
  chunking: chunking.map((each) => ({ ...each, oddities: [] as typeof each.oddities })),
  before: fc.constant(''),
});
/** Parts that are odd, or lead astray. */
const odd = fc.record({
  method: fc.constantFrom('GET', 'POST', 'POST', 'POST', 'HEAD', 'PUT', 'get', 'POST\t', 'P(ST'),
  start: fc.constantFrom(
    'METHOD /edge/I HTTP/1.1',
    'METHOD /edge/I HTTP/1.1',
    'METHOD /edge/I HTTP/1.1',
    'METHOD /edge/I HTTP/1.0',
    'METHOD /edge/I HTTP/1.2',
    'METHOD /edge/I HTTP/2.0',
    'METHOD  /edge/I HTTP/1.1',
    'METHOD /edge/I  HTTP/1.1',
    'METHOD /edge/I HTTP/1.1 ',
    'METHOD /edge/I',
    'METHOD /edge/I\tHTTP/1.1',
    'METHOD /edge/I HTTP/01.1',
    'METHOD /edge/I http/1.1',
    'METHOD /edge/I\x7f HTTP/1.1',
    'METHOD /edge/I\xff HTTP/1.1',
    'METHOD /edge/I#f HTTP/1.1',
    ' METHOD /edge/I HTTP/1.1',
    'METHOD /edge/I HTTP/1.1\rA: b',
  ),
  framing: fc.oneof(fc.tuple(framing), fc.array(framing, { minLength: 2, maxLength: 3 })),
  others: fc.array(otherLine, { minLength: 1, maxLength: 2 }),
  host: fc.constantFrom('Host: localhost', 'Host: localhost', 'Host: localhost', 'Host:', ''),
  body: bodyText,
  chunking,
  before: fc.constantFrom('', '', '', '\r\n', '\n', '\r', ' ', '\r\n\r\n', '\0'),
});
type Odd = typeof odd extends fc.Arbitrary<infer T> ? T : never;
type Parts = Omit<Odd, 'framing' | 'others'> & { framing: readonly string[]; others: readonly string[] };

/** An honest request but for one or two of its parts: with more, hardly any would get as far as its body. */
const dishonest = fc
  .tuple(
    honest as fc.Arbitrary<Parts>,
    odd,
    fc.constantFrom<readonly (keyof Parts)[]>(
      ...([
        ['framing'],
        ['framing'],
        ['framing'],
        ['chunking'],
        ['chunking'],
        ['framing', 'others'],
      ] as const),
      ...([['framing', 'chunking'], ['start'], ['method'], ['others'], ['host'], ['before']] as const),
      ...([
        ['framing', 'start'],
        ['before', 'framing'],
        ['others', 'chunking'],
      ] as const),
    ),
  )
  .map(([parts, changed, names]): Parts => {
    const framing = names.includes('chunking') ? ['Transfer-Encoding: chunked'] : parts.framing;
    return { ...parts, framing, ...Object.fromEntries(names.map((name) => [name, changed[name]])) };
  });

function bytesOf(parts: Parts, index: number): string {
  const { body, framing, before, start, method, host } = parts;
  const isChunked = framing.some((line) => /chunked/i.test(line));
  const written = framing.length === 0 ? '' : isChunked ? chunks(body, parts.chunking) : body;
  const lines = [
    start.replace('METHOD', method).replace('/edge/I', `/edge/${index}`),
    ...(host === '' ? [] : [host]),
    ...framing.map((line) => line.replaceAll('N', String(written.length))),
    ...parts.others,
  ];
  return `${before}${lines.join('\r\n')}\r\n\r\n${written}`;
}

/** With it the server closes the connection, unless it is still reading something else. */
const last = 'GET /edge/last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

const stream = fc
  .record({
    requests: fc.array(
      fc.oneof({ weight: 2, arbitrary: honest as fc.Arbitrary<Parts> }, { weight: 3, arbitrary: dishonest }),
      { minLength: 1, maxLength: 4 },
    ),
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 8 }),
    pieces: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
  })
  .map(({ requests, cut, pieces }) => {
    const all = requests.map(bytesOf).join('');
    const text = cut === null ? all + last : all.slice(0, Math.floor(cut * all.length));
    return {
      text,
      isCut: cut !== null,
      pieces: pieces.map((each) => Math.floor(each * text.length)).sort((a, b) => a - b),
    };
  });
type Sent = typeof stream extends fc.Arbitrary<infer T> ? T : never;

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ use }) {
    use(async (ctx) => {
      const chunks = [];
      for await (const chunk of ctx.req) chunks.push(chunk);
      const message = { method: ctx.method, target: ctx.originalUrl, body: Buffer.concat(chunks).toString('latin1') };
      globalThis.seenAtTheEdge(ctx.req.socket.remotePort, message);
      ctx.body = message;
    });
  },
});
`;

const edge: Target = {
  name: 'http-edge',
  property:
    'of any bytes on a connection, the server sees those requests that RFC 9112 read strictly sees, answers each once and in order, refuses the rest with one 4xx, and sees none that node:http does not',
  inputs: { long: 100_000, quick: 150 },
  async open() {
    /** By the port of the connection: one that was left may be read later. */
    const seenFrom = new Map<number, Message[]>();
    const see = (from: number, message: Message) =>
      seenFrom.set(from, [...(seenFrom.get(from) ?? []), message]);
    Object.assign(globalThis, { seenAtTheEdge: see });
    const server = await startServer({ ini: '[limits]\nbody=1000000', files: { 'plugins/edge.js': plugin } });
    const port = Number(new URL(server.url).port);
    const node: Message[] = [];
    const witness = createServer(
      (request, response) =>
        void echo(request, node).then(
          (text) => response.end(text),
          () => response.destroy(),
        ),
    );
    witness.listen(0, '127.0.0.1');
    await once(witness, 'listening');
    const witnessPort = (witness.address() as AddressInfo).port;
    const property = fc.asyncProperty(stream, async (sent) => {
      node.length = 0;
      const strict = readStream(sent.text);
      const { methods } = strict;
      const isEnough = (text: string) => {
        const responses = completeOf(text, methods);
        // After a refusal the server reads on, for a while, what the client still sends.
        if (responses.some(({ status, closes }) => status !== 200 && closes)) return true;
        // What is cut may be as good as any request so far.
        return (
          !strict.closes && (strict.end !== 'bad' || sent.isCut) && responses.length >= strict.messages.length
        );
      };
      const [{ text, from }, { isClosed: witnessClosed }] = await Promise.all([
        send(port, sent, isEnough, patience),
        send(witnessPort, sent, isEnough, strict.end === 'bad' ? grace : patience),
      ]);
      const seen = seenFrom.get(from) ?? [];
      seenFrom.clear();
      const responses = readResponses(text, methods);
      const answered = responses.filter(({ status }) => status === 200);
      expect(seen.length, 'seen').to.be.at.most(strict.messages.length);
      expect(answered.length, 'answered, of those seen').to.equal(seen.length);
      let next = 0;
      for (const [index, { status, body }] of responses.entries()) {
        const meant = strict.messages[index];
        if (status === 200) {
          expect(seen[next], `request ${index}`).to.deep.equal(meant);
          if (meant!.method !== 'HEAD')
            expect(JSON.parse(Buffer.from(body, 'latin1').toString())).to.deep.equal(meant);
          next += 1;
          continue;
        }
        expect(status, `request ${index}`).to.satisfy(
          (code: number) => (code >= 400 && code < 500) || code === 501 || code === 505,
        );
        if (meant === undefined) {
          expect([strict.end, index], 'refused').to.deep.equal([
            strict.end === 'clean' ? 'bad' : strict.end,
            responses.length - 1,
          ]);
        } else expect(strict.isOdd, `refused ${JSON.stringify(meant)}`).to.equal(true);
      }
      if (!strict.isOdd && responses.every(({ status }) => status === 200))
        expect(seen.length).to.equal(strict.messages.length);
      // It may still wait for more of what is no HTTP.
      if (strict.end === 'bad' && !witnessClosed) return;
      let witnessed = 0;
      for (const each of seen) {
        while (witnessed < node.length && JSON.stringify(node[witnessed]) !== JSON.stringify(each))
          witnessed += 1;
        expect(node[witnessed], 'as node:http').to.deep.equal(each);
        witnessed += 1;
      }
    });
    return {
      property,
      async close() {
        witness.closeAllConnections();
        witness.close();
        await server.close();
      },
    };
  },
};

/** The responses that are there as a whole. */
function completeOf(text: string, methods: readonly string[]): Response[] {
  for (let end = text.length; end > 0; end = text.lastIndexOf('HTTP/1.1 ', end - 1)) {
    try {
      return readResponses(text.slice(0, end), methods);
    } catch {
      // The last one is not complete.
    }
  }
  return [];
}

/** Notes the request when its head is there: pipelined ones are read at the same time. */
async function echo(
  request: IncomingMessage,
  into: { method: string; target: string; body: string }[],
): Promise<string> {
  const { method = '', url = '' } = request;
  const message = { method, target: url, body: '' };
  into.push(message);
  for await (const part of request.setEncoding('latin1')) message.body += part;
  return 'seen';
}

/** Milliseconds; the server answers all of it much sooner. */
const patience = 20_000;
/** The same for what a server may take for the beginning of more. */
const grace = 150;

/**
 * Sends the bytes in pieces, and resolves to all that comes back until the server closes. Where the bytes end within a
 * request, the server has to wait for more: then the client closes once so many responses are there.
 */
function send(
  port: number,
  { text, pieces }: Sent,
  isEnough: (text: string) => boolean,
  timeout: number,
): Promise<{ text: string; from: number; isClosed: boolean }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let received = '';
    let isClosed = true;
    let from = 0;
    const timer = setTimeout(() => {
      isClosed = false;
      socket.destroy();
      if (timeout === patience)
        reject(new Error(`no end after ${patience} ms; so far: ${received.slice(-500)}`));
    }, timeout);
    const endIfEnough = () => {
      if (isEnough(received)) socket.end();
    };
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
      endIfEnough();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve({ text: received, from, isClosed });
    });
    socket.once('connect', async () => {
      from = socket.localPort ?? 0;
      let sent = 0;
      for (const piece of [...pieces, text.length]) {
        await new Promise((written) => socket.write(text.slice(sent, piece), 'latin1', written));
        sent = piece;
      }
      endIfEnough();
    });
  });
}

export const edgeTargets: readonly Target[] = [edge];
