import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { ServerProcess } from '../../../support/process.js';

/** A call of sessman. Undefined where the worker that had it was killed. */
export async function ask(
  server: ServerProcess,
  path: string,
  options: RequestOptions,
): Promise<{ readonly status: number; readonly body: { readonly session_id: string } } | undefined> {
  const sent = request(`${server.url}/sessman/${path}`, options).end();
  try {
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const text = (await response.setEncoding('utf8').toArray()).join('');
    return { status: response.statusCode!, body: JSON.parse(text) };
  } catch {
    return undefined;
  }
}
