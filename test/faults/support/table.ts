import type { Fault, Outcome } from './fault.js';

export interface Result {
  readonly fault: Fault;
  readonly outcome: Outcome;
  /** Milliseconds that it took altogether. */
  readonly ms: number;
}

/** The table as Markdown, and under it what the columns have no room for. */
export function table(results: readonly Result[]): string {
  const head = ['fault', 'times', 'acknowledged', 'lost', 'wrong answers', 'slowest answer', 'recovery', ''];
  const rows = results.map(({ fault, outcome }) => [
    fault.title,
    outcome.times,
    count(outcome.acknowledged),
    count(outcome.lost),
    count(outcome.wrong),
    duration(outcome.slowest),
    duration(outcome.recovery),
    outcome.failures.length === 0 ? 'held' : '**failed**',
  ]);
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  const notes = results.flatMap(({ fault, outcome }) => {
    const { notes = [], failures } = outcome;
    const all = [...failures.map((failure) => `**failed**: ${failure}`), ...notes];
    return all.length === 0 ? [] : [`- ${fault.title}: ${all.join('; ')}.`];
  });
  return [...lines, '', ...notes].join('\n');
}

function count(number: number | undefined): string {
  return number === undefined ? '–' : number.toLocaleString('en');
}

function duration(ms: number | undefined): string {
  if (ms === undefined) return '–';
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
