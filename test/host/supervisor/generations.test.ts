import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { expect } from 'chai';
import { type Greeting, hello, holdRequest, type ServerProcess, startHello } from '../../support/process.js';

/** Beside what `hello` does: an event stream without an end, and a line at each step to the end. */
const plugin = hello().replace(
  'setup({ config, router, metrics }) {',
  `setup({ config, router, metrics, log, draining, signal, onClose }) {
    const { pid } = process;
    draining.addEventListener('abort', () => log.info({ pid }, 'draining'));
    signal.addEventListener('abort', () => log.info({ pid }, 'signal'));
    onClose(() => log.info({ pid }, 'closed'));
    router.get('/events', (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      const timer = setInterval(() => ctx.res.write('data: ' + pid + '\\n\\n'), 20);
      ctx.res.on('close', () => {
        clearInterval(timer);
        log.info({ pid }, 'stream ended');
      });
    });`,
);

class Events {
  readonly closed: Promise<unknown>;

  private constructor(
    private readonly answer: IncomingMessage,
    readonly pid: number,
  ) {
    this.closed = new Promise((resolve) => answer.once('close', resolve));
    answer.on('error', () => {});
  }

  static async open(server: ServerProcess): Promise<Events> {
    const call = get(`${server.url}/hello/events`, { agent: false });
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    // Several may come at once.
    const [events] = await once(answer, 'data');
    return new Events(answer, Number(/\d+/.exec(String(events))![0]));
  }

  end(): void {
    this.answer.destroy();
  }

  /** The next event, from the generation that the stream was opened on. */
  async next(): Promise<void> {
    const closed = this.closed.then(() => {
      throw new Error('the stream is closed');
    });
    await Promise.race([once(this.answer, 'data'), closed]);
  }
}

describe('an old generation', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const start = (ini: string) => startHello({ ini, files: { 'plugins/hello.js': plugin } });
  const reload = async () => expect((await server.command('reload')).status).to.equal(0);
  const linesOf = (pid: number) => server.logs.filter((line) => line.pid === pid && line.plugin === 'hello');
  const steps = (pid: number) => linesOf(pid).map(({ msg }) => msg);
  const told = (what: string, by: number) => server.until(({ msg, pid }) => msg === what && pid === by);

  it('keeps event streams for stream_grace, then closes its plugins', async () => {
    server = await start('[network]\nstream_grace=int:1\nworkers=int:2\n');
    const events = await Events.open(server);
    await reload();
    expect((await server.json<Greeting>('/hello')).pid).to.not.equal(events.pid);
    await events.closed;
    await told('closed', events.pid);
    expect(steps(events.pid)).to.deep.equal(['draining', 'stream ended', 'signal', 'closed']);
    const [begun, ended] = linesOf(events.pid).map(({ time }) => new Date(time as string).getTime());
    // The two clocks are read a moment after what they time.
    expect(ended! - begun!).to.be.at.least(950);
  });

  it('closes its plugins as soon as its last stream has ended', async () => {
    server = await start('[network]\nstream_grace=int:3600\n');
    const events = await Events.open(server);
    await reload();
    await told('draining', events.pid);
    await events.next();
    expect(steps(events.pid)).to.deep.equal(['draining']);
    events.end();
    await told('closed', events.pid);
    expect(steps(events.pid)).to.deep.equal(['draining', 'stream ended', 'signal', 'closed']);
  });

  it('gives its streams up when it is the third, and finishes the requests that it has in hand', async () => {
    server = await start('[network]\nstream_grace=int:3600\nworkers=int:2\n');
    const first = await Events.open(server);
    const held = await holdRequest(server.url);
    await reload();
    const second = await Events.open(server);
    await reload();
    const third = await Events.open(server);
    await Promise.all([first.next(), second.next()]);
    await reload();
    await first.closed;
    await Promise.all([second.next(), third.next()]);
    const { status, body } = await held.finish();
    expect({ status, ...body }).to.include({ status: 200, word: 'late' });
    expect([second.pid, third.pid]).to.not.include(body.pid);
    await told('closed', first.pid);
  });

  it('cuts its requests at stop_timeout, and keeps its streams', async () => {
    server = await start('[network]\nstop_timeout=int:1\nstream_grace=int:3600\n');
    const events = await Events.open(server);
    const held = await holdRequest(server.url);
    await reload();
    await held.answered.then(
      () => expect.fail('it was answered'),
      () => {},
    );
    await events.next();
  });

  it('gives its streams the stop timeout when the server stops', async () => {
    server = await start('[network]\nstop_timeout=int:1\nstream_grace=int:3600\n');
    const events = await Events.open(server);
    await reload();
    const other = await Events.open(server);
    const stopping = server.next('stopping');
    server.signal('SIGTERM');
    await stopping;
    await Promise.all([events.closed, other.closed]);
    expect(await server.exited).to.deep.equal({ status: 0, signal: null });
    for (const { pid } of [events, other]) {
      await told('closed', pid);
      expect(steps(pid)).to.deep.equal(['draining', 'stream ended', 'signal', 'closed']);
    }
  });
});
