import { expect } from 'chai';
import type { PlacedProblem } from '../../../host/kit/server-view.js';
import { hello, ServerProcess } from '../../support/process.js';
import { StreamReader } from './support/stream.js';

const key = { Authorization: 'Bearer the-key' };
const ini = `[main]
safe=list:hello admin
[network]
workers=int:2
[auth]
apikey=the-key
`;

describe('the admin page of several workers', function () {
  this.timeout(60_000);
  let server: ServerProcess;
  before(async () => {
    server = await ServerProcess.start({ ini, files: { 'plugins/hello.js': hello() }, args: ['--safe'] });
  });
  after(() => server.close());

  const open = async () => new StreamReader(await server.fetch('/admin/api/stream', { headers: key }));
  /** Over a connection of its own, so that the workers take turns. */
  const ask = (path: string, method = 'GET') =>
    server.fetch(path, { method, headers: { ...key, Connection: 'close' } });

  it('shows the requests of all, and their own counters', async () => {
    const stream = await open();
    await stream.next('sample', ({ sample }) => sample.processes === 2);
    const pids = new Set<number>();
    for (let i = 0; i < 8; i += 1) pids.add(((await (await ask('/hello')).json()) as { pid: number }).pid);
    expect(pids.size).to.equal(2);
    const seen = { answers: 0, counted: 0 };
    await stream.next('sample', ({ sample, traffic }) => {
      seen.answers += traffic.hello?.requests ?? 0;
      seen.counted += sample.figures.hello_total ?? 0;
      return seen.answers >= 8 && seen.counted >= 8;
    });
    await stream.close();
    expect(seen).to.deep.equal({ answers: 8, counted: 8 });
  });

  it('keeps the last minutes over a reload, whose stream ends and whose successor takes over', async () => {
    const stream = await open();
    const before = await stream.next('hello');
    const answer = await ask('/admin/api/reload', 'POST');
    expect([answer.status, await answer.json()]).to.deep.equal([200, { success: true }]);
    expect(await stream.next('hello')).to.equal(undefined);
    const next = await open();
    const after = await next.next('hello');
    await next.close();
    expect(after!.startedAt).to.be.greaterThan(before!.startedAt);
    expect(after!.samples[0]).to.deep.equal(before!.samples[0]);
  });

  it('shows a failed reload with the line that is wrong, and a worker that was lost', async () => {
    const stream = await open();
    const good = await stream.next('hello');
    expect(good!.problems).to.deep.equal([]);
    await server.write('plugin-server.ini', ini.replace('int:2', 'int:many'));
    const answer = await ask('/admin/api/reload', 'POST');
    const body = (await answer.json()) as { success: boolean; problems: PlacedProblem[] };
    expect([answer.status, body.success]).to.deep.equal([422, false]);
    const [{ source, caret, length, ...place }] = body.problems as [PlacedProblem];
    expect(place).to.include({ file: 'plugin-server.ini', line: 4, column: 13 });
    expect(source!.slice(caret, caret + length)).to.equal('many');
    const failed = await stream.next('problem', ({ kind }) => kind === 'reload');
    expect(failed!.problems).to.deep.equal(body.problems);
    await ask('/hello/crash', 'POST').catch(() => {});
    const reader = await open();
    const lost =
      (await reader.next('hello'))!.problems.find(({ kind }) => kind === 'worker') ??
      (await reader.next('problem', ({ kind }) => kind === 'worker'));
    await reader.close();
    await stream.close();
    expect(lost!.message).to.contain('SIGKILL');
  });
});
