import { connect } from 'node:net';

/** Sends bytes as they are and gives all that comes back until the server closes the connection. */
export function sendRaw(port: number, ...parts: readonly (string | Buffer)[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('connect', () => {
      for (const part of parts) socket.write(part);
    });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
  });
}

export interface RawAnswer {
  /** 0 when the connection was closed without an answer. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * Sends a request with its target and headers byte for byte as given (Latin-1), which no HTTP client does: they tidy
 * paths up, and add headers.
 */
export async function requestRaw(
  url: string,
  target: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Readonly<Record<string, string>> } = {},
): Promise<RawAnswer> {
  const { port, host } = new URL(url);
  const fields = Object.entries({ Host: host, Connection: 'close', ...headers });
  const head = [
    `${method} ${target} HTTP/1.1`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ];
  const answer = await sendRaw(Number(port), Buffer.from(head.join('\r\n'), 'latin1'));
  const end = answer.indexOf('\r\n\r\n');
  const [start = '', ...lines] = answer.slice(0, Math.max(0, end)).split('\r\n');
  const split = (line: string): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  };
  return {
    status: Number(start.split(' ')[1] ?? 0),
    headers: new Map(lines.map(split)),
    body: Buffer.from(answer.slice(end + 4), 'latin1').toString('utf8'),
  };
}
