import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { makeCertificate } from './certificates.js';
import { freePort } from './mongodb/process.js';
import { isListening } from './process.js';
import { makeFolder, writeFiles } from './server.js';

/** A proxy for which docs/ has configurations. */
export interface ProxyProgram {
  readonly name: 'nginx' | 'Caddy';
  /** Whether it is installed. */
  readonly available: boolean;
  /** A whole configuration of a documented one, with the address and the certificate of the test in it. */
  complete(documented: string, site: Site): string;
  command(file: string): readonly [string, ...string[]];
}

interface Site {
  readonly folder: string;
  readonly port: number;
}

const isInstalled = (file: string, ...args: readonly string[]) => spawnSync(file, args).status === 0;
const nginxFile = isInstalled('nginx', '-v') ? 'nginx' : '/usr/sbin/nginx';

export const nginx: ProxyProgram = {
  name: 'nginx',
  available: isInstalled(nginxFile, '-v'),
  complete: (documented, { folder, port }) => `
daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${folder}/${of};`).join(' ')}
  ${replaced(documented, {
    'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
    '/etc/ssl/example.com.pem': `${folder}/cert.pem`,
    '/etc/ssl/example.com-key.pem': `${folder}/key.pem`,
  })}
}`,
  command: (file) => [nginxFile, '-c', file],
};

export const caddy: ProxyProgram = {
  name: 'Caddy',
  available: isInstalled('caddy', 'version'),
  complete: (documented, { folder, port }) => `{
  admin off
  auto_https off
}
${replaced(documented, {
  'example.com {': `https://:${port} {\n  bind 127.0.0.1\n  tls ${folder}/cert.pem ${folder}/key.pem`,
})}`,
  command: (file) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', file],
};

/** Each text has to be in the configuration: the test must not run something else than the page says. */
export function replaced(documented: string, replacements: Readonly<Record<string, string>>): string {
  let result = documented;
  for (const [from, to] of Object.entries(replacements)) {
    expect(result, 'the documented configuration').to.include(from);
    result = result.replaceAll(from, to);
  }
  return result;
}

/** The proxy that a test has running, with TLS at a free port of 127.0.0.1. */
export class RunningProxy {
  private constructor(
    readonly port: number,
    readonly folder: string,
    readonly child: ChildProcess,
  ) {}

  static async start(program: ProxyProgram, documented: string): Promise<RunningProxy> {
    const folder = await makeFolder();
    const port = await freePort();
    const { cert, key } = await makeCertificate();
    const configuration = program.complete(documented, { folder, port });
    await writeFiles(folder, { 'cert.pem': cert, 'key.pem': key, configuration });
    const [file, ...args] = program.command(join(folder, 'configuration'));
    const child = spawn(file, args, {
      env: { ...process.env, HOME: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let messages = '';
    child.stderr!.setEncoding('utf8').on('data', (line) => {
      messages += line;
    });
    while (!(await isListening(`http://127.0.0.1:${port}`))) {
      if (child.exitCode !== null) throw new Error(messages);
      await sleep(20);
    }
    return new RunningProxy(port, folder, child);
  }

  async close(): Promise<void> {
    if (this.child.exitCode === null) {
      this.child.kill();
      await once(this.child, 'exit');
    }
    await rm(this.folder, { recursive: true });
  }
}
