import { request } from 'node:http';

/**
 * Sends one request to 127.0.0.1.
 *
 * @param {number} port
 * @param {{ method: string, path: string, headers?: Record<string, string>, body?: string }} message
 * @param {import('node:http').Agent | false} agent
 * @returns {Promise<{ status: number, headers: import('node:http').IncomingHttpHeaders, body: string }>}
 */
export function send(port, { method, path, headers = {}, body }, agent = false) {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, method, path, headers, agent, timeout: 10_000 },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: text }));
        answer.on('error', reject);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${method} ${path} within 10 s`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** The same request as it goes over the wire, for load generators that send bytes. */
export function wireText(port, { method, path, headers = {}, body = '' }) {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (body !== '') lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
