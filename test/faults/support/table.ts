import type { Fault, Outcome } from './fault.js';

export interface Result {
  readonly fault: Fault;
  readonly outcome: Outcome;
  /** Milliseconds that it took altogether. */
  readonly ms: number;
}

/** The table as Markdown, and under it what the columns have no room for. */
export function table(results: readonly Result[]): string {
  return layOut(
    results.map((result) => rowOf(result)),
    results.flatMap(noteOf),
  );
}

/**
 * An earlier table with these results in place of those of the same faults.
 * @param faults all, in the order of the table
 * @param date of the results, where the rows have dates
 */
export function updatedTable(
  earlier: string,
  results: readonly Result[],
  faults: readonly Fault[],
  date?: string,
): string {
  const lines = earlier.split('\n');
  const of = (fault: Fault) => results.find((result) => result.fault === fault);
  const kept = (beginning: string) => lines.filter((line) => line.startsWith(beginning));
  const rows = faults.flatMap((fault) => {
    const result = of(fault);
    return result === undefined ? kept(`| ${fault.title} |`) : [rowOf(result, date)];
  });
  const notes = faults.flatMap((fault) => {
    const result = of(fault);
    return result === undefined ? kept(`- ${fault.title}: `) : noteOf(result);
  });
  return layOut(rows, notes);
}

function layOut(rows: readonly string[], notes: readonly string[]): string {
  const head = ['fault', 'times', 'acknowledged', 'lost', 'wrong answers', 'slowest answer', 'recovery', ''];
  return [line(head), line(head.map(() => '---')), ...rows, '', ...notes].join('\n');
}

function rowOf({ fault, outcome }: Result, date?: string): string {
  const verdict = outcome.failures.length === 0 ? 'held' : '**failed**';
  return line([
    fault.title,
    outcome.times,
    count(outcome.acknowledged),
    count(outcome.lost),
    count(outcome.wrong),
    duration(outcome.slowest),
    duration(outcome.recovery),
    date === undefined ? verdict : `${verdict} on ${date}`,
  ]);
}

function noteOf({ fault, outcome: { notes = [], failures } }: Result): readonly string[] {
  const all = [...failures.map((failure) => `**failed**: ${failure}`), ...notes];
  return all.length === 0 ? [] : [`- ${fault.title}: ${all.join('; ')}.`];
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function count(number: number | undefined): string {
  return number === undefined ? '–' : number.toLocaleString('en');
}

function duration(ms: number | undefined): string {
  if (ms === undefined) return '–';
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
