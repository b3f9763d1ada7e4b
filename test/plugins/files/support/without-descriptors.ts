/** Serves a file from a process that has no descriptor left, and again when it has. Prints both responses as JSON. */
import { closeSync, openSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { startServer } from '../../../support/server.js';

const server = await startServer({
  ini: '[file_server]\ndocuments=html:public\n',
  files: { 'public/hello.txt': 'hello' },
});
// One connection that stays open, since a new one would take a descriptor as well.
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function fetchFile(): Promise<{ status: number | undefined; retryAfter: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    get(`${server.url}/html/hello.txt`, { agent }, async (response) => {
      const body = (await response.toArray()).join('');
      resolve({ status: response.statusCode, retryAfter: response.headers['retry-after'], body });
    }).on('error', reject);
  });
}

await fetchFile();
const taken: number[] = [];
const takeAll = () => {
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {}
};
takeAll();
let without = await fetchFile();
for (let tries = 0; without.status === 200 && tries < 100; tries++) {
  // What was open before may have been closed meanwhile.
  takeAll();
  without = await fetchFile();
}
for (const descriptor of taken) closeSync(descriptor);
const again = await fetchFile();
agent.destroy();
await server.close();
process.stdout.write(JSON.stringify({ without, again }));
