import { expect } from 'chai';
import type { PlacedProblem, WorkerView } from '../../../host/kit/server-view.js';
import { hello, holdRequest, ServerProcess } from '../../support/process.js';
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
  /** Over a connection of its own, which either worker may accept. */
  const ask = (path: string, method = 'GET') =>
    server.fetch(path, { method, headers: { ...key, Connection: 'close' } });

  it('shows the requests of all, their own counters, and which processes they are', async () => {
    const stream = await open();
    await stream.next('sample', ({ sample }) => sample.processes === 2);
    const pids = new Set<number>();
    let asked = 0;
    for (; asked < 8 || pids.size < 2; asked += 1)
      pids.add(((await (await ask('/hello')).json()) as { pid: number }).pid);
    const seen = { answers: 0, counted: 0 };
    await stream.next('sample', ({ sample, traffic }) => {
      seen.answers += traffic.hello?.requests ?? 0;
      seen.counted += sample.figures.hello_total ?? 0;
      return seen.answers >= asked && seen.counted >= asked;
    });
    const { workers, lastReload } = (await stream.next('sample', ({ workers }) =>
      workers.some(({ connections }) => connections > 0),
    ))!;
    await stream.close();
    expect(workers.map(({ pid }) => pid)).to.have.members([...pids]);
    expect(standing(workers)).to.deep.equal(['1 serving', '1 serving']);
    expect(lastReload).to.equal(null);
    expect(seen).to.deep.equal({ answers: asked, counted: asked });
  });

  it('keeps the last minutes over a reload, whose stream ends and whose successor takes over', async () => {
    const held = await holdRequest(server.url, undefined, key);
    const stream = await open();
    const before = await stream.next('hello');
    const answer = await ask('/admin/api/reload', 'POST');
    expect([answer.status, await answer.json()]).to.deep.equal([200, { success: true }]);
    expect(await stream.next('hello')).to.equal(undefined);
    const next = await open();
    const after = await next.next('hello');
    expect(after!.startedAt).to.be.greaterThan(before!.startedAt);
    expect(after!.samples[0]).to.deep.equal(before!.samples[0]);
    const reloaded = await next.next('sample', ({ lastReload }) => lastReload !== null);
    expect(reloaded!.lastReload).to.deep.include({
      askedBy: ['http'],
      success: true,
      reason: null,
      problem: null,
    });
    expect(reloaded!.lastReload!.time).to.be.at.least(after!.startedAt);
    const draining = reloaded!.workers.filter(({ state }) => state === 'draining');
    expect(standing(reloaded!.workers)).to.include.members(['1 draining', '2 serving']);
    const { body } = await held.finish();
    expect(draining.map(({ pid }) => pid)).to.include(body.pid);
    const drained = await next.next('sample', ({ workers }) => workers.length === 2);
    expect(standing(drained!.workers)).to.deep.equal(['2 serving', '2 serving']);
    await next.close();
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
    const { workers, lastReload } = (await stream.next(
      'sample',
      (event) => event.lastReload?.success === false,
    ))!;
    expect(lastReload).to.deep.include({ askedBy: ['http'], problem: body.problems[0] });
    expect(failed!.message).to.equal(`Not reloaded. ${lastReload!.reason}`);
    expect(standing(workers)).to.deep.equal(['2 serving', '2 serving']);
    await ask('/hello/crash', 'POST').catch(() => {});
    const reader = await open();
    const lost =
      (await reader.next('hello'))!.problems.find(({ kind }) => kind === 'worker') ??
      (await reader.next('problem', ({ kind }) => kind === 'worker'));
    const known = new Set(workers.map(({ pid }) => pid));
    const replaced = await reader.next('sample', (event) => event.workers.some(({ pid }) => !known.has(pid)));
    expect(replaced!.workers.filter(({ pid }) => known.has(pid))).to.have.length(1);
    await reader.close();
    await stream.close();
    expect(lost!.message).to.contain('SIGKILL');
  });
});

/** Generation and state of each, oldest generation first. */
function standing(workers: readonly WorkerView[]): readonly string[] {
  return workers.map(({ generation, state }) => `${generation} ${state}`);
}
