import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { type StartedPlugin, startPlugin } from '../../../host/testing.js';
import { sharedMongo } from '../../support/mongodb.js';
import { makeFolder, writeFiles } from '../../support/server.js';

/** Has a route for each part of the kit that is about several workers and generations. */
const kit = `
import { createServer } from 'node:net';
import { definePlugin, route, z } from 'plugin-server';
export default definePlugin({
  config: z.object({ folder: z.string() }),
  async setup({ config, router, mount, mountOpen, use, storage, every, channel, websocket, listen, sendFile, metrics, now }) {
    const { pid } = process;
    const jobs = storage('jobs');
    const notes = storage('notes');
    const runs = storage('runs');
    const words = channel('words');
    const count = metrics.counter({ name: 'kit_reports_total', help: 'Reports.' });
    const heard = [];
    const sockets = new Set();
    words.subscribe((word) => {
      heard.push(word);
      for (const socket of sockets) socket.send(word);
    });
    use((ctx, next) => {
      ctx.set('X-Below', ctx.mountPath + ' ' + ctx.path);
      return next();
    });
    router.post('/jobs/:name', route({
      params: z.object({ name: z.string().max(50) }),
      body: z.object({ note: z.string().max(200).default('') }),
      response: z.object({ runs: z.number(), pid: z.number() }),
    }, async ({ params, body }) => {
      const job = await jobs.update(params.name, (old) => ({ runs: (old?.runs ?? 0) + 1, note: body.note }));
      count.inc();
      return { runs: job.runs, pid };
    }));
    router.put('/notes/:key', async (ctx) => {
      const { text, ttl } = ctx.request.body;
      await notes.set(ctx.params.key, text, ttl === undefined ? {} : { ttl });
      ctx.status = 204;
    });
    router.delete('/notes/:key', async (ctx) => { ctx.body = await notes.delete(ctx.params.key); });
    router.get('/notes', async (ctx) => {
      ctx.body = [];
      for await (const [key, text] of notes.entries()) ctx.body.push([key, text, await notes.get(key)]);
    });
    every('tick', '10 s', async ({ scheduledAt, attempt, fence }) => {
      await runs.update('all', (all = []) => [...all, { at: scheduledAt.getTime(), attempt, fence, pid }]);
    });
    router.get('/runs', async (ctx) => { ctx.body = { now: now().getTime(), runs: (await runs.get('all')) ?? [] }; });
    router.post('/words', (ctx) => {
      for (const word of ctx.request.body) words.publish(word);
      ctx.body = { pid };
    });
    router.get('/words', (ctx) => { ctx.body = { pid, heard }; });
    websocket('/socket', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.send(String(pid));
    });
    const { port } = await listen(createServer((socket) => {
      socket.on('error', () => {});
      socket.write(pid + '\\n');
      socket.on('data', (data) => socket.write(data));
    }), { port: 0 });
    router.get('/port', (ctx) => { ctx.body = { port, pid }; });
    router.get('/file', (ctx) => sendFile(ctx, config.folder, 'page.txt'));
    for (const beside of [mount('/beside'), mountOpen('/kit-open')]) beside.get('/', (ctx) => { ctx.body = 'beside'; });
    const again = storage('notes');
    router.get('/again/:key', async (ctx) => { ctx.body = { text: await again.get(ctx.params.key) }; });
    router.get('/late', async (ctx) => {
      const calls = [
        () => use(() => {}),
        () => storage('late'),
        () => every('late', '1 h', () => {}),
        () => channel('late'),
        () => websocket('/late', () => {}),
        () => listen(createServer(), { port: 0 }),
      ];
      ctx.body = [];
      for (const call of calls) {
        try {
          await call();
          ctx.body.push('none');
        } catch (error) {
          ctx.body.push(error.message);
        }
      }
    });
  },
});`;

/** Requires a key, and uses sessman. */
const guarded = `
import { definePlugin, raw, route, z } from 'plugin-server';
export default definePlugin({
  after: ['sessman'],
  setup({ router, use, plugin }) {
    const sessions = plugin('sessman');
    for (const name of ['first', 'second'])
      use((ctx, next) => {
        ctx.state.seen = [...(ctx.state.seen ?? []), name + ' ' + ctx.path + ' ' + typeof ctx.request.body];
        ctx.append('X-Used', name);
        return ctx.path === '/used' ? void (ctx.body = 'used') : next();
      });
    router.post('/json', route({ body: z.object({ a: z.int() }) }, ({ ctx, body }) => ({ seen: ctx.state.seen, body })));
    router.post('/raw', route({ body: raw() }, ({ body }) => ({ length: body.length })));
    router.get('/session', async (ctx) => { ctx.body = (await sessions.get('x'.repeat(43), 'ann')).data; });
  },
});`;
const key = 'a-key-of-sixteen-letters';

interface Run {
  readonly at: number;
  readonly attempt: number;
  readonly fence: number;
  readonly pid: number;
}

for (const [name, storageOf] of [
  ['the embedded storage', async () => 'embedded'],
  ['MongoDB', async () => (await (await sharedMongo()).createDatabase()).url()],
] as const) {
  describe(`what a plugin is given, over two workers and a reload, on ${name}`, () => {
    let folder: string;
    let server: StartedPlugin;
    before(async () => {
      folder = await makeFolder();
      await writeFiles(folder, {
        'kit.mjs': kit,
        'guarded.mjs': guarded,
        'files/page.txt': 'first edition',
      });
      server = await startPlugin(join(folder, 'kit.mjs'), {
        workers: 2,
        storage: (await storageOf()) as 'embedded',
        parameters: { folder: join(folder, 'files') },
        plugins: ['sessman', join(folder, 'guarded.mjs')],
        ini: `[network]\nhosts=127.0.0.1\nstream_grace=int:3600\n[plugin_parms]\nguarded=auth_type=plugin&apikey=${key}\n`,
      });
    });
    after(async () => {
      await server?.close();
      await rm(folder, { recursive: true, force: true });
    });

    /** Over a connection of its own, so that every worker gets some. */
    const ask = (path: string, method = 'GET', body?: unknown, headers: Record<string, string> = {}) =>
      fetch(`${server.url}/kit${path}`, {
        method,
        headers: {
          Connection: 'close',
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    const json = async <T>(path: string, method = 'GET', body?: unknown): Promise<T> => {
      const answer = await ask(path, method, body);
      expect(answer.status).to.equal(200);
      return (await answer.json()) as T;
    };
    /** The processes that answer: the two workers of the newest generation. */
    const workers = async (): Promise<ReadonlyMap<number, string[]>> => {
      const found = new Map<number, string[]>();
      while (found.size < 2) {
        const { pid, heard } = await json<{ pid: number; heard: string[] }>('/words');
        found.set(pid, heard);
      }
      return found;
    };
    const heardBy = async (count: number): Promise<readonly string[][]> => {
      for (;;) {
        const all = [...(await workers()).values()];
        if (all.every((heard) => heard.length >= count)) return all;
      }
    };
    const line = async (port: number) => {
      const socket = connect(port, '127.0.0.1').setEncoding('utf8');
      const [greeting] = await once(socket, 'data');
      return { socket, pid: Number(greeting) };
    };
    const openSocket = async () => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/kit/socket`);
      const [greeting] = await once(socket, 'message');
      return { socket, pid: Number(String(greeting)) };
    };

    let old: ReadonlyMap<number, string[]>;
    let early: Awaited<ReturnType<typeof openSocket>>;
    let earlyLine: Awaited<ReturnType<typeof line>>;
    let port: number;
    let tag: string;

    it('works before the reload', async () => {
      old = await workers();
      await Promise.all(
        ['b', 'a', 'ä', 'gone'].map((key) => ask(`/notes/${key}`, 'PUT', { text: `note ${key}` })),
      );
      await ask('/notes/short', 'PUT', { text: 'for a minute', ttl: 60 });
      expect(await json('/notes/gone', 'DELETE')).to.equal(true);
      await json('/words', 'POST', ['one', 'two', 'three']);
      for (const heard of await heardBy(3)) expect(heard).to.deep.equal(['one', 'two', 'three']);
      early = await openSocket();
      ({ port } = await json<{ port: number }>('/port'));
      earlyLine = await line(port);
      const file = await ask('/file', 'GET', undefined, { Range: 'bytes=0-4' });
      tag = file.headers.get('etag')!;
      expect([file.status, await file.text()]).to.deep.equal([206, 'first']);
      await server.clock.advance(20_000);
      expect(old.has(early.pid) && old.has(earlyLine.pid)).to.equal(true);
    });

    it('is reloaded while requests come, each of which counts once', async () => {
      const answers: { runs: number; pid: number }[] = [];
      let isReloading = true;
      const reports = [1, 2, 3].map(async () => {
        while (isReloading) answers.push(await json('/jobs/backup', 'POST', { note: 'x' }));
      });
      await server.reload();
      isReloading = false;
      await Promise.all(reports);
      const last = await json<{ runs: number; pid: number }>('/jobs/backup', 'POST', {});
      const runs = answers.map((answer) => answer.runs).sort((a, b) => a - b);
      expect(runs).to.deep.equal(Array.from({ length: answers.length }, (_, i) => i + 1));
      expect(last.runs).to.equal(answers.length + 1);
      expect(old.has(last.pid)).to.equal(false);
      const refused = await ask('/jobs/backup', 'POST', { note: 1 });
      expect([refused.status, ((await refused.json()) as { code: string }).code]).to.deep.equal([
        400,
        'invalid_request',
      ]);
    });

    it('has its storage, in the order of keys and with its ttl', async () => {
      const note = (key: string) => [key, `note ${key}`, `note ${key}`];
      const short = ['short', 'for a minute', 'for a minute'];
      expect(await json('/notes')).to.deep.equal([note('a'), note('b'), short, note('ä')]);
      expect(await json('/notes/gone', 'DELETE')).to.equal(false);
      await server.clock.advance(60_000);
      expect(await json('/notes')).to.deep.equal([note('a'), note('b'), note('ä')]);
    });

    it('has one storage under one name', async () => {
      expect(await json('/again/a')).to.deep.equal({ text: 'note a' });
    });

    it('is told what belongs in setup', async () => {
      const calls = [
        'use()',
        'storage("late")',
        'every("late")',
        'channel("late")',
        'websocket("/late")',
        'listen()',
      ];
      expect(await json('/late')).to.deep.equal(
        calls.map((call) => `${call} was called after setup; call it in setup`),
      );
    });

    it('has its middleware below its path, whether a route matches or not, and nowhere else', async () => {
      const below = async (path: string) => (await fetch(server.url + path)).headers.get('x-below');
      expect(await below('/kit/nothing')).to.equal('/kit /nothing');
      expect([await below('/beside'), await below('/kit-open')]).to.deep.equal([null, null]);
    });

    it('has its requests judged in their order: the host, the key, the middleware, the body, the handler', async () => {
      const elsewhere = get(`${server.url}/guarded/json`, { agent: false, headers: { Host: 'example.org' } });
      const [misdirected] = (await once(elsewhere, 'response')) as [IncomingMessage];
      expect([misdirected.statusCode, misdirected.headers['x-used']]).to.deep.equal([421, undefined]);
      misdirected.resume();
      const call = async (path: string, body: string | undefined, headers: Record<string, string> = {}) => {
        const answer = await fetch(`${server.url}/guarded${path}`, {
          method: body === undefined ? 'GET' : 'POST',
          headers: { Connection: 'close', 'Content-Type': 'application/json', ...headers },
          ...(body !== undefined && { body }),
        });
        const text = await answer.text();
        const { code } = /^\{.*"code"/.test(text) ? JSON.parse(text) : { code: text };
        return [answer.status, code, answer.headers.get('x-used')];
      };
      const bearer = { Authorization: `Bearer ${key}` };
      const seen = '"seen":["first /json undefined","second /json undefined"],"body":{"a":1}';
      expect(await call('/json', '{"a":1}', bearer)).to.deep.equal([200, `{${seen}}`, 'first, second']);
      const inBody = `{"a":1,"apikey":"${key}"}`;
      const read = seen.replaceAll('undefined', 'object');
      expect(await call('/json', inBody)).to.deep.equal([200, `{${read}}`, 'first, second']);
      for (const [path, body] of [
        ['/json', '{"a"'],
        ['/json', `{"apikey":"${key}","a":${' '.repeat(65_536)}1}`],
        ['/raw', inBody],
        ['/used', inBody],
        ['/nothing', inBody],
      ] as const)
        expect(await call(path, body), path).to.deep.equal([401, 'api_key_required', null]);
      expect(await call('/json', '{"a"', bearer)).to.deep.equal([400, 'invalid_json', 'first, second']);
      expect(await call('/used', '{"a"', bearer)).to.deep.equal([200, 'used', 'first']);
      expect(await call('/nothing', '{"a"', bearer)).to.deep.equal([404, 'not_found', 'first, second']);
      expect(await call('/raw', '{"a"', bearer)).to.deep.equal([200, '{"length":4}', 'first, second']);
    });

    it('has the errors of sessman answered as sessman answers them', async () => {
      const ask = async (path: string) => {
        const answer = await fetch(server.url + path, { headers: { Authorization: `Bearer ${key}` } });
        const { code, error } = (await answer.json()) as { code: string; error: string };
        return { status: answer.status, code, error };
      };
      const own = await ask(`/sessman/get?session_id=${'x'.repeat(43)}&userid=ann`);
      expect(own).to.include({ status: 404, code: 'session_not_found' });
      expect(await ask('/guarded/session')).to.deep.equal(own);
    });

    it('runs its job at each time once, by workers of the newest generation, with fences that grow', async () => {
      const { now, runs } = await json<{ now: number; runs: Run[] }>('/runs');
      const times = runs.map(({ at }) => at);
      expect(times.every((at, i) => at % 10_000 === 0 && (i === 0 || at > times[i - 1]!))).to.equal(true);
      // The latest may be on its way.
      expect(now - times.at(-1)!).to.be.below(30_000);
      expect(runs.every(({ fence }, i) => i === 0 || fence > runs[i - 1]!.fence)).to.equal(true);
      expect(new Set(runs.map(({ attempt }) => attempt))).to.deep.equal(new Set([1]));
      // A minute was moved by: all of its runs were of the new generation.
      expect(runs.slice(-5).some(({ pid }) => old.has(pid))).to.equal(false);
      // Eighty seconds by the test, and those that the machine took.
      expect(runs.length).to.be.at.least(7);
    });

    it('carries values of its channel to both generations, in their order', async () => {
      const heardEarly: string[] = [];
      early.socket.on('message', (data) => heardEarly.push(String(data)));
      const words = Array.from({ length: 300 }, (_, i) => `word ${i}`);
      await json('/words', 'POST', words);
      for (const heard of await heardBy(300)) expect(heard).to.deep.equal(words);
      while (heardEarly.length < 300) await once(early.socket, 'message');
      expect(heardEarly).to.deep.equal(words);
    });

    it('keeps sockets and connections of the old generation, and opens new ones on the new', async () => {
      const late = await openSocket();
      const lateLine = await line((await json<{ port: number }>('/port')).port);
      expect((await json<{ port: number }>('/port')).port).to.equal(port);
      expect(old.has(late.pid) || old.has(lateLine.pid)).to.equal(false);
      earlyLine.socket.write('still here');
      expect((await once(earlyLine.socket, 'data'))[0]).to.equal('still here');
      for (const { socket } of [earlyLine, lateLine]) socket.destroy();
      late.socket.terminate();
    });

    it('sends a file that was replaced as a new one, whoever asks', async () => {
      const range = { Range: 'bytes=0-4', 'If-Range': tag };
      expect((await ask('/file', 'GET', undefined, range)).status).to.equal(206);
      await writeFile(join(folder, 'files/page.txt'), 'the second edition');
      const changed = await ask('/file', 'GET', undefined, range);
      expect([changed.status, await changed.text()]).to.deep.equal([200, 'the second edition']);
      expect(changed.headers.get('etag')).to.not.equal(tag);
      const head = await ask('/file', 'HEAD');
      expect([head.status, head.headers.get('content-length')]).to.deep.equal([200, '18']);
      expect(head.headers.get('x-below')).to.equal('/kit /file');
    });

    it('counts in metrics that add up over workers and generations', async () => {
      const { runs } = await json<{ runs: number }>('/jobs/backup', 'POST', {});
      const scrape = async () => (await fetch(`${server.url}/metrics`)).text();
      const sockets = /^plugin_server_websockets\{plugin="kit",route="\/kit\/socket"\} 1$/m;
      let metrics = await scrape();
      // A worker may not have seen yet that its client is gone.
      while (!sockets.test(metrics)) metrics = await scrape();
      expect(metrics).to.match(new RegExp(`^kit_reports_total\\{plugin="kit"\\} ${runs}$`, 'm'));
      expect(metrics).to.match(/^plugin_server_job_runs_total\{plugin="kit",job="tick",outcome="ok"\} \d+$/m);
      expect(metrics).to.match(/^plugin_server_channel_dropped_total\{plugin="kit",channel="words"\} 0$/m);
      expect(metrics).to.match(
        /^plugin_server_storage_operations_total\{plugin="kit",storage="jobs",operation="update",outcome="ok"\} \d+$/m,
      );
    });

    it('tells sockets by 1001 that the server stops', async () => {
      const closed = once(early.socket, 'close');
      await server.close();
      expect((await closed)[0]).to.equal(1001);
    });
  });
}
