import { useState } from 'preact/hooks';
import type { Sample } from '../wire.js';
import { bytes, number, percent, seconds } from './format.js';
import { Plot, type PlotLine, type PlotProps } from './plot.js';
import { ProblemList } from './problems.js';
import type { ServerState } from './server.js';
import type { Theme } from './theme.js';
import { LastReload, WorkerTable } from './workers.js';

const SPANS = [1, 5, 10] as const;

/** How the server does now, and how it did in the last minutes. */
export function Overview({ state, theme }: { readonly state: ServerState; readonly theme: Theme }) {
  const [minutes, setMinutes] = useState<number>(5);
  const { samples, traffic, problems, workers, lastReload } = state;
  const times = samples.map((sample) => sample.time / 1000);
  const panels = plots(samples, state.hello?.hasSessions === true);
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Overview</h1>
        <fieldset class="choice" aria-label="Minutes shown">
          {SPANS.map((span) => (
            <button key={span} type="button" aria-pressed={span === minutes} onClick={() => setMinutes(span)}>
              {span} min
            </button>
          ))}
        </fieldset>
      </div>
      <div class="plots" key={theme}>
        {panels.map((panel) => (
          <Plot key={panel.title} {...panel} times={times} span={minutes * 60} />
        ))}
      </div>
      <div class="columns">
        <TrafficTable traffic={traffic} />
        <section class="panel">
          <header>
            <h2>Latest problems</h2>
            {problems.length > 0 && (
              <a class="note" href="#/problems">
                All {problems.length}
              </a>
            )}
          </header>
          <ProblemList problems={problems.slice(0, 4)} brief />
        </section>
        <WorkerTable workers={workers} />
        <LastReload reload={lastReload} />
      </div>
    </>
  );
}

type Panel = Omit<PlotProps, 'times' | 'span'>;

function plots(samples: readonly Sample[], hasSessions: boolean): Panel[] {
  const line = (label: string, color: string, of: (sample: Sample) => number | undefined): PlotLine => ({
    label,
    color,
    values: samples.map((sample) => of(sample) ?? null),
  });
  const rate = (value: number) => `${number(value)}/s`;
  const figure = (name: string) => (sample: Sample) => sample.figures[name] ?? 0;
  const latest = samples.at(-1);
  const stored = latest?.figures.sessman_sessions;
  const sessions: Panel[] = [
    {
      title: 'Sessions',
      note: stored === undefined ? undefined : `${stored.toLocaleString('en')} stored`,
      format: rate,
      height: 120,
      lines: [
        line('created', '--line-1', figure('sessman_sessions_made_total')),
        line('ended', '--line-2', figure('sessman_sessions_ended_total')),
      ],
    } as Panel,
  ];
  return [
    {
      title: 'Requests',
      format: rate,
      height: 170,
      lines: [line('answered', '--line-1', (sample) => sample.requests)],
    },
    {
      title: 'Latency',
      logarithmic: true,
      format: seconds,
      height: 170,
      lines: [
        line('p50', '--line-1', (sample) => sample.latency?.p50),
        line('p90', '--line-2', (sample) => sample.latency?.p90),
        line('p99', '--line-3', (sample) => sample.latency?.p99),
      ],
    },
    {
      title: 'Errors',
      format: rate,
      height: 120,
      lines: [
        line('4xx', '--line-2', (sample) => sample.refused),
        line('5xx', '--line-bad', (sample) => sample.failed),
      ],
    },
    ...(hasSessions ? sessions : []),
    {
      title: 'In flight',
      format: number,
      height: 120,
      lines: [line('requests', '--line-1', (sample) => sample.active)],
    },
    {
      title: 'Event loop',
      format: seconds,
      height: 120,
      lines: [line('delay', '--line-3', (sample) => sample.delay)],
    },
    {
      title: 'CPU',
      format: percent,
      height: 120,
      lines: [line('of a core', '--line-1', (sample) => sample.cpu)],
    },
    {
      title: 'Memory',
      format: bytes,
      height: 120,
      lines: [line('resident', '--line-2', (sample) => sample.memory)],
    },
  ];
}

function TrafficTable({ traffic }: { readonly traffic: ServerState['traffic'] }) {
  const rows = Object.entries(traffic ?? {})
    .map(([plugin, counts]) => ({ plugin: plugin === '' ? 'no plugin' : plugin, ...counts }))
    .sort((a, b) => b.requests - a.requests);
  return (
    <section class="panel">
      <header>
        <h2>Responses in the last second</h2>
      </header>
      {rows.length === 0 ? (
        <p class="empty">{traffic === undefined ? 'Waiting for data…' : 'No requests.'}</p>
      ) : (
        <table class="figures">
          <thead>
            <tr>
              <th scope="col">Plugin</th>
              <th scope="col">All</th>
              <th scope="col">4xx</th>
              <th scope="col">5xx</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ plugin, requests, refused, failed }) => (
              <tr key={plugin}>
                <th scope="row">{plugin}</th>
                <td>{requests.toLocaleString('en')}</td>
                <td>{refused.toLocaleString('en')}</td>
                <td class={failed > 0 ? 'bad' : ''}>{failed.toLocaleString('en')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
