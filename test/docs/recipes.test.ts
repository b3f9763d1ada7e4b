import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, stat, symlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type ProcessOptions, ServerProcess } from '../support/process.js';
import { makeFolder } from '../support/server.js';
import { readSteps } from '../support/walkthrough.js';

const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url));
const mebibyte = 1024 * 1024;

/** A server of two workers with the plugin of a recipe and no other, with what its reader has installed. */
async function startRecipe(
  name: string,
  line: string,
  options: Pick<ProcessOptions, 'through'> = {},
): Promise<ServerProcess> {
  const steps = await readSteps('docs/plugins.md');
  const step = steps.find((each) => each.kind === 'file' && each.path === `plugins/${name}.ts`);
  const folder = await makeFolder();
  await symlink(modules, join(folder, 'node_modules'));
  return ServerProcess.start({
    ...options,
    folder,
    args: ['--safe'],
    ini: `[main]\nsafe=list:${name}\n[network]\nworkers=2\n[plugin_parms]\n${name}=auth_type=none${line}\n`,
    files: { [`plugins/${name}.ts`]: step?.kind === 'file' ? step.text : '' },
  });
}

interface Upload {
  /** Sends the head of a form with one file, and so many bytes of it. */
  send(bytes: number): Promise<void>;
  end(): Promise<{ readonly status: number; readonly body: { readonly [member: string]: unknown } }>;
  leave(): void;
}

const chunk = Buffer.alloc(mebibyte, 'streamed ');

/** An upload that is sent piece by piece, never faster than the server takes it. */
function beginUpload(url: string): Upload {
  const call = request(`${url}/uploads`, {
    method: 'POST',
    agent: false,
    headers: { 'Content-Type': 'multipart/form-data; boundary=limit' },
  });
  const answered = once(call, 'response') as Promise<[IncomingMessage]>;
  answered.catch(() => {});
  let lost = false;
  for (const end of ['error', 'close', 'response']) {
    call.on(end, () => {
      lost = true;
    });
  }
  call.write('--limit\r\nContent-Disposition: form-data; name="a"; filename="a.bin"\r\n\r\n');
  return {
    async send(bytes) {
      for (let left = bytes; left > 0 && !lost; left -= chunk.length) {
        const piece = chunk.subarray(0, Math.min(left, chunk.length));
        await new Promise<unknown>((resolve) => call.write(piece, resolve));
      }
    },
    async end() {
      call.end('\r\n--limit--\r\n');
      const [answer] = await answered;
      let text = '';
      for await (const part of answer.setEncoding('utf8')) text += part;
      return { status: answer.statusCode!, body: JSON.parse(text) };
    },
    leave: () => call.destroy(),
  };
}

describe('the recipe for uploads', function () {
  this.timeout(120_000);
  let server: ServerProcess;
  afterEach(() => server.close());

  const files = (name: string) => readdir(join(server.folder, 'data/uploads', name));
  const until = async (holds: () => Promise<boolean>) => {
    while (!(await holds())) await sleep(2);
  };

  /** The largest memory that any process of the server has had, in bytes. */
  const peakOf = async (pids: readonly number[]) => {
    const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, 'utf8')));
    return Math.max(...texts.map((text) => Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024));
  };

  it('takes 200 MB in constant memory', async () => {
    server = await startRecipe('uploads', '');
    const small = beginUpload(server.url);
    await small.send(mebibyte);
    expect((await small.end()).status).to.equal(201);
    const pids = server.workers();
    expect(pids.length).to.be.at.least(2);
    const before = await peakOf(pids);
    const upload = beginUpload(server.url);
    await upload.send(200 * mebibyte);
    const { status, body } = await upload.end();
    const sum = createHash('sha256');
    for (let i = 0; i < 200; i += 1) sum.update(chunk);
    const id = sum.digest('hex');
    expect([status, body]).to.deep.equal([201, { files: [{ id, size: 200 * mebibyte }] }]);
    expect((await stat(join(server.folder, 'data/uploads/whole', id))).size).to.equal(200 * mebibyte);
    expect((await peakOf(pids)) - before).to.be.below(80 * mebibyte);
    expect(await files('incoming')).to.deep.equal([]);
  });

  it('keeps no half file of a client that leaves', async () => {
    server = await startRecipe('uploads', '');
    const upload = beginUpload(server.url);
    await upload.send(5 * mebibyte);
    await until(async () => (await files('incoming')).length === 1);
    upload.leave();
    await until(async () => (await files('incoming')).length === 0);
    expect(await files('whole')).to.deep.equal([]);
    expect(server.logs.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });

  it('answers 507 where the disk is full, keeps no half file, and goes on', async () => {
    // A limit on the size of files stops a write in the same way; ulimit counts blocks of 512 bytes.
    server = await startRecipe('uploads', '', {
      through: { file: 'sh', args: ['-c', 'ulimit -f 16384; exec "$@"', 'sh'] },
    });
    const upload = beginUpload(server.url);
    await upload.send(20 * mebibyte);
    const { status, body } = await upload.end();
    expect([status, body.code, body.error]).to.deep.equal([507, 'disk_full', 'The disk is full.']);
    await until(async () => (await files('incoming')).length === 0);
    expect(await files('whole')).to.deep.equal([]);
    const small = beginUpload(server.url);
    await small.send(mebibyte);
    expect((await small.end()).status).to.equal(201);
  });

  it('refuses more than the operator allows, and keeps nothing of it', async () => {
    server = await startRecipe('uploads', '&body_limit=3000000');
    const upload = beginUpload(server.url);
    await upload.send(5 * mebibyte);
    const { status, body } = await upload.end();
    expect([status, body.code]).to.deep.equal([413, 'body_too_large']);
    await until(async () => (await files('incoming')).length === 0);
    expect(await files('whole')).to.deep.equal([]);
  });

  it('refuses what is no form, and takes a form without files', async () => {
    server = await startRecipe('uploads', '');
    const post = async (body: string | FormData) => {
      const response = await server.fetch('/uploads', { method: 'POST', body });
      return [response.status, (await response.json()) as { code?: string; files?: unknown }] as const;
    };
    const [status, { code }] = await post('text');
    expect([status, code]).to.deep.equal([415, 'not_a_form']);
    const form = new FormData();
    form.set('field', 'value');
    expect(await post(form)).to.deep.equal([201, { files: [] }]);
  });

  it('finishes an upload over a reload, and keeps no half file of a worker that is killed', async () => {
    server = await startRecipe('uploads', '');
    const upload = beginUpload(server.url);
    await upload.send(2 * mebibyte);
    const reloaded = server.next('reloaded');
    server.signal('SIGHUP');
    await reloaded;
    await upload.send(2 * mebibyte);
    const { status, body } = await upload.end();
    expect(status).to.equal(201);
    const [{ id, size }] = body.files as [{ id: string; size: number }];
    expect(size).to.equal(4 * mebibyte);
    const lost = beginUpload(server.url);
    await lost.send(2 * mebibyte);
    await until(async () => (await files('incoming')).length === 1);
    for (const pid of server.workers()) process.kill(pid, 'SIGKILL');
    const outcome = await lost.end().then(
      () => 'answered',
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(outcome).to.be.oneOf(['ECONNRESET', 'EPIPE']);
    expect(await files('whole')).to.deep.equal([id]);
    const response = await server.fetch(`/uploads/${id}`, { headers: { range: 'bytes=0-7' } });
    expect([response.status, await response.text()]).to.deep.equal([206, 'streamed']);
  });
});

describe('the recipe for a server behind a path', () => {
  it('passes requests on, and answers 502 where that server is away', async () => {
    const behind = createServer((req, res) => {
      let size = 0;
      req.on('data', (part: Buffer) => {
        size += part.length;
      });
      req.on('end', () =>
        res.end(JSON.stringify({ url: req.url, size, host: req.headers['x-forwarded-for'] })),
      );
    });
    behind.listen(0, '127.0.0.1');
    await once(behind, 'listening');
    const { port } = behind.address() as AddressInfo;
    const server = await startRecipe('backend', `&target=http://127.0.0.1:${port}`);
    try {
      const body = Buffer.alloc(3 * mebibyte);
      const response = await server.fetch('/backend/a?b=c', { method: 'POST', body });
      expect(await response.json()).to.deep.equal({
        url: '/backend/a?b=c',
        size: body.length,
        host: '127.0.0.1',
      });
      expect(await (await server.fetch('/backend')).json()).to.deep.include({ url: '/backend' });
      behind.closeAllConnections();
      await new Promise((resolve) => behind.close(resolve));
      const away = await server.fetch('/backend/a');
      expect([away.status, ((await away.json()) as { code: string }).code]).to.deep.equal([
        502,
        'backend_unavailable',
      ]);
    } finally {
      await server.close();
      behind.close();
    }
  }).timeout(30_000);
});

describe('the recipe for a webhook', () => {
  it('takes what is signed byte by byte, and nothing else', async () => {
    const server = await startRecipe('webhook', '&secret=correct-horse-battery');
    const send = async (body: Buffer, signature: string, type = 'application/json') => {
      const headers = { 'X-Signature': signature, 'Content-Type': type };
      return (await server.fetch('/webhook', { method: 'POST', body, headers })).status;
    };
    const sign = (body: Buffer) =>
      `sha256=${createHmac('sha256', 'correct-horse-battery').update(body).digest('hex')}`;
    try {
      const event = Buffer.from('{"type": "paid",  "note": "\xff"}', 'latin1');
      for (const type of ['application/json', 'text/plain', 'application/octet-stream']) {
        expect(await send(event, sign(event), type), type).to.equal(204);
      }
      expect(await send(event, sign(Buffer.from('{"type":"paid"}')))).to.equal(401);
      expect(await send(event, 'sha256=')).to.equal(401);
      expect(await send(event, sign(event).slice(0, -1))).to.equal(401);
      expect(await send(Buffer.alloc(100_001), 'sha256=')).to.equal(413);
    } finally {
      await server.close();
    }
  }).timeout(30_000);
});

describe('the recipe for events', () => {
  it('tells pages of every worker, before and after a reload', async () => {
    const server = await startRecipe('notices', '');
    try {
      const before = await openStreams(server, 6);
      await tell(server, 'first');
      await Promise.all(before.map((page) => page.hears('first')));
      const reloaded = server.next('reloaded');
      server.signal('SIGHUP');
      await reloaded;
      const after = await openStreams(server, 6);
      await tell(server, 'second');
      await Promise.all([...before, ...after].map((page) => page.hears('second')));
      for (const page of [...before, ...after]) page.close();
    } finally {
      await server.close();
    }
  }).timeout(30_000);

  const tell = async (server: ServerProcess, text: string) => {
    const headers = { 'Content-Type': 'application/json' };
    const body = JSON.stringify({ text });
    expect((await server.fetch('/notices', { method: 'POST', headers, body })).status).to.equal(204);
  };

  /** Pages, each with a connection of its own, whose streams are open. */
  const openStreams = (server: ServerProcess, count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const controller = new AbortController();
        const response = await server.fetch('/notices', { signal: controller.signal });
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
        let text = '';
        const hears = async (part: string) => {
          while (!text.includes(part)) {
            const { value, done } = await reader.read();
            expect(done, `the stream ended before ${part}; it had ${text}`).to.equal(false);
            text += value;
          }
        };
        await hears('retry');
        return { hears, close: () => controller.abort() };
      }),
    );
});

describe('the recipe for SQLite', () => {
  it('loses no points of requests at once, over a reload and a killed worker', async () => {
    const server = await startRecipe('scores', '');
    const add = async () => {
      const headers = { 'Content-Type': 'application/json', Connection: 'close' };
      const response = await server.fetch('/scores/ada', { method: 'POST', headers, body: '{"points": 1}' });
      expect(response.status).to.equal(200);
    };
    const points = async () =>
      ((await (await server.fetch('/scores')).json()) as { points: number }[])[0]?.points;
    try {
      const reloaded = server.next('reloaded');
      server.signal('SIGHUP');
      for (let i = 0; i < 10; i += 1) await Promise.all(Array.from({ length: 10 }, add));
      await reloaded;
      expect(await points()).to.equal(100);
      const replaced = server.next('a new worker serves');
      process.kill(server.workers().at(-1)!, 'SIGKILL');
      await replaced;
      await add();
      expect(await points()).to.equal(101);
    } finally {
      await server.close();
    }
  }).timeout(30_000);
});
