import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Child } from './children.mjs';
import { send } from './http.mjs';
import { freePort } from './server.mjs';

const startDeadline = 10_000;

/**
 * Starts nginx as Debian ships it before a server, with `proxy_pass` and nothing else: HTTP/1.0 and a connection a request.
 *
 * @returns {Promise<{ port: number, stop: () => Promise<void> }>}
 */
export async function startProxy(serverPort, folder, cores) {
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off;
pid ${join(folder, 'nginx.pid')};
error_log stderr error;
events {
  worker_connections 1024;
}
http {
  access_log off;
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${join(folder, name)};`).join('\n')}
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${serverPort};
    }
  }
}
`,
  );
  const child = new Child(cores, ['nginx', '-p', folder, '-c', file], { stdio: 'ignore' });
  const started = performance.now();
  for (;;) {
    try {
      await send(port, { method: 'GET', path: '/' });
      return { port, stop: () => child.stop() };
    } catch (error) {
      if (child.hasEnded || performance.now() - started > startDeadline)
        throw new Error(`nginx does not answer: ${error.message}`);
      await pause(10);
    }
  }
}
