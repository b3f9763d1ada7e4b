import { createServer } from 'node:http';
import { allowed } from './key.mjs';

const bodyLimit = 1 << 20;

/**
 * A server on node:http without a framework: checks the key, reads a JSON body, answers JSON.
 *
 * @param {(request: import('node:http').IncomingMessage, body: unknown, answer: (status: number, text: string, headers?: object) => void) => void} handle
 */
export function serveByHand(handle) {
  createServer((request, response) => {
    if (!allowed(request.headers.authorization)) {
      return send(response, 401, '{"error":"a key is needed"}');
    }
    const answer = (status, text, headers) => send(response, status, text, headers);
    if (request.method === 'GET') return handle(request, undefined, answer);
    readJson(request, (error, body) =>
      error ? answer(400, '{"error":"bad body"}') : handle(request, body, answer),
    );
  }).listen(Number(process.env.PORT), '127.0.0.1');
}

function readJson(request, done) {
  const chunks = [];
  let length = 0;
  request.on('data', (chunk) => {
    length += chunk.length;
    if (length <= bodyLimit) chunks.push(chunk);
  });
  request.on('error', done);
  request.on('end', () => {
    if (length > bodyLimit) return done(new Error('too long'));
    let body;
    try {
      body = length === 0 ? undefined : JSON.parse(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    } catch (error) {
      return done(error);
    }
    done(undefined, body);
  });
}

function send(response, status, text, headers) {
  if (status === 204) {
    response.writeHead(status, headers);
    response.end();
    return;
  }
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}
