import { expect } from 'chai';
import type { MonitorEvent, Sample, ServerProblem } from '../../../host/kit/server-view.js';
import { HISTORY, Monitor } from '../../../host/monitor/monitor.js';
import type { Report } from '../../../host/monitor/report.js';

describe('the monitor', () => {
  it('adds up what the processes report of one second', () => {
    const monitor = new Monitor(noWorkers);
    monitor.report(
      'a',
      report({ traffic: { hello: { requests: 10, refused: 2, failed: 1 } }, active: 3, memory: 100 }),
    );
    monitor.report(
      'b',
      report({ traffic: { hello: { requests: 5, refused: 0, failed: 0 } }, active: 1, memory: 50 }),
    );
    const events = watch(monitor);
    monitor.tick(1000);
    const [, second] = events;
    expect(second).to.deep.include({
      type: 'sample',
      traffic: { hello: { requests: 15, refused: 2, failed: 1 } },
    });
    expect((second as { sample: Sample }).sample).to.deep.include({
      time: 1000,
      requests: 15,
      refused: 2,
      failed: 1,
      active: 4,
      memory: 150,
      processes: 2,
    });
  });

  it('counts late reports once, and keeps the standing of a process that is silent for a second', () => {
    const monitor = new Monitor(noWorkers);
    const busy = report({
      traffic: { hello: { requests: 4, refused: 0, failed: 0 } },
      memory: 70,
      figures: { made: { value: 3, combine: 'count' }, live: { value: 9, combine: 'max' } },
    });
    monitor.report('a', busy);
    monitor.report('a', busy);
    monitor.tick(1000);
    monitor.tick(2000);
    const [first, second] = samples(monitor);
    expect(first).to.deep.include({ requests: 8, memory: 70, figures: { made: 6, live: 9 } });
    expect(second).to.deep.include({ requests: 0, memory: 70, figures: { live: 9 } });
  });

  it('turns the gauges of several processes into one each as the plugin said', () => {
    const monitor = new Monitor(noWorkers);
    const figures = (value: number): Report['figures'] => ({
      open: { value, combine: 'sum' },
      stored: { value, combine: 'max' },
      load: { value, combine: 'average' },
    });
    monitor.report('a', report({ figures: figures(2) }));
    monitor.report('b', report({ figures: figures(4) }));
    monitor.tick(1000);
    expect(samples(monitor)[0]!.figures).to.deep.equal({ open: 6, stored: 4, load: 3 });
  });

  it('goes on without a process that has ended, and keeps what it had seen', () => {
    const monitor = new Monitor(noWorkers);
    monitor.report('a', report({ memory: 10 }));
    monitor.report('b', report({ memory: 20 }));
    monitor.tick(1000);
    monitor.remove('a');
    monitor.tick(2000);
    expect(samples(monitor).map(({ memory, processes }) => [memory, processes])).to.deep.equal([
      [30, 2],
      [20, 1],
    ]);
  });

  it('keeps the last minutes and no more', () => {
    const monitor = new Monitor(noWorkers);
    for (let second = 1; second <= HISTORY + 5; second += 1) {
      monitor.report('a', report({}));
      monitor.tick(second * 1000);
    }
    const kept = samples(monitor);
    expect(kept).to.have.length(HISTORY);
    expect(kept[0]!.time).to.equal(6000);
  });

  it('makes one problem of what happens again and again, with the latest request ids', () => {
    const monitor = new Monitor(noWorkers);
    monitor.addProblem(problem({ requestIds: ['r1'], first: 1, last: 1 }));
    monitor.addProblem(problem({ message: 'another', requestIds: ['r2'] }));
    monitor.addProblem(problem({ requestIds: ['r3'], first: 9, last: 9 }));
    expect(problems(monitor)).to.deep.equal([
      { ...problem({ message: 'another', requestIds: ['r2'] }), id: 2 },
      { ...problem({ requestIds: ['r3', 'r1'], times: 2, first: 1, last: 9 }), id: 1 },
    ]);
  });

  it('makes one problem of what is thrown at one place, whatever it says, and shows what it said last', () => {
    const monitor = new Monitor(noWorkers);
    const place = 'plugins/shop/index.ts:3:7';
    monitor.addProblem(problem({ message: 'no item 7', place }));
    monitor.addProblem(problem({ message: 'no item 8', place }));
    expect(problems(monitor)).to.deep.equal([
      { ...problem({ message: 'no item 8', place, times: 2 }), id: 1 },
    ]);
  });

  it('keeps two hundred different problems at most', () => {
    const monitor = new Monitor(noWorkers);
    for (let i = 0; i < 250; i += 1) monitor.addProblem(problem({ message: `number ${i}` }));
    expect(problems(monitor)).to.have.length(200);
    expect(problems(monitor)[0]!.message).to.equal('number 50');
  });

  it('tells whoever watches until they have seen enough', () => {
    const monitor = new Monitor(noWorkers);
    const events: MonitorEvent[] = [];
    const stop = monitor.watch((event) => events.push(event));
    monitor.addProblem(problem({}));
    stop();
    monitor.addProblem(problem({}));
    expect(events.map(({ type }) => type)).to.deep.equal(['history', 'problem']);
  });
});

const noWorkers = () => ({ workers: [], lastReload: null });

function report(parts: Partial<Report>): Report {
  return {
    seconds: 1,
    traffic: {},
    durations: [],
    active: 0,
    connections: 0,
    delay: 0,
    memory: 0,
    cpu: 0,
    figures: {},
    problems: [],
    ...parts,
  };
}

function problem(parts: Partial<ServerProblem>): ServerProblem {
  return { kind: 'request', message: 'it broke', first: 5, last: 5, times: 1, ...parts };
}

function watch(monitor: Monitor): readonly MonitorEvent[] {
  const events: MonitorEvent[] = [];
  monitor.watch((event) => events.push(event));
  return events;
}

function history(monitor: Monitor) {
  const [first] = watch(monitor);
  if (first?.type !== 'history') throw new Error('A watcher is told the history first.');
  return first;
}

const samples = (monitor: Monitor) => history(monitor).samples;
const problems = (monitor: Monitor) => history(monitor).problems;
