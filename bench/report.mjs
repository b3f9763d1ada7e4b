import { judge } from './goals.mjs';

/** One measured round, for whoever waits. */
export function sampleLine(row, round, name, sample) {
  const figures = columnsOf(row).map(({ title, text }) => `${text(sample)} ${title}`);
  return `${row.name} · round ${round} · ${name}: ${figures.join(', ')}`;
}

/**
 * All figures as text, in GitHub's Markdown: one table a row, then the goals.
 *
 * @param {object} run `{ rounds, seconds, machine }`
 * @param {object[]} rows those that were run
 * @param {Map<string, Map<string, object>>} results medians by row and contestant
 */
export function reportText({ rounds, seconds, machine }, rows, results) {
  const { processor, cores, memory, system, node, load, versions } = machine;
  const lines = [
    `${processor}, ${cores} cores, ${memory}; ${system}; Node ${node}; load by ${load}`,
    `Medians of ${rounds} interleaved rounds of ${seconds} s. Ratios are against the first of each table; higher is better.`,
    Object.entries(versions)
      .map((pair) => pair.join(' '))
      .join(', '),
  ];
  for (const row of rows) {
    if (results.has(row.name)) lines.push('', ...rowTable(row, results.get(row.name)));
  }
  const goals = judge(results);
  if (goals.length > 0) lines.push('', ...goalTable(goals));
  return lines.join('\n');
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const loadColumns = [
  { title: 'answers/s', text: ({ rate }) => rate.toFixed(0), ratio: (one, first) => one.rate / first.rate },
  { title: 'CPU µs/answer', text: ({ cpu }) => cpu.toFixed(1), ratio: (one, first) => first.cpu / one.cpu },
  { title: 'p50 ms', text: ({ p50 }) => p50.toFixed(2) },
  { title: 'p99 ms', text: ({ p99 }) => p99.toFixed(2) },
  { title: 'memory MB', text: ({ memory }) => megabytes(memory) },
  { title: 'of it anonymous', text: ({ anonymousMemory }) => megabytes(anonymousMemory) },
];

const callColumns = [
  { title: 'calls/s', text: ({ rate }) => rate.toFixed(0), ratio: (one, first) => one.rate / first.rate },
  { title: 'CPU µs/call', text: ({ cpu }) => cpu.toFixed(2), ratio: (one, first) => first.cpu / one.cpu },
];

const startColumns = [
  {
    title: 'ms to first answer',
    text: ({ startTime }) => startTime.toFixed(0),
    ratio: (one, first) => first.startTime / one.startTime,
  },
  {
    title: 'memory MB at rest',
    text: ({ memory }) => megabytes(memory),
    ratio: (one, first) => first.memory / one.memory,
  },
  { title: 'of it anonymous', text: ({ anonymousMemory }) => megabytes(anonymousMemory) },
  { title: 'unshared', text: ({ ownMemory }) => megabytes(ownMemory) },
];

const idleColumns = [
  {
    title: 'KB a connection',
    text: ({ connectionMemory }) => (connectionMemory / 1e3).toFixed(1),
    ratio: (one, first) => first.connectionMemory / one.connectionMemory,
  },
];

function columnsOf(row) {
  if (row.measure === 'calls') return callColumns;
  if (row.measure === 'idle') return idleColumns;
  return row.measure === 'start' ? startColumns : loadColumns;
}

function rowTable(row, results) {
  const columns = columnsOf(row);
  const first = results.get(row.contestants[0]);
  const head = [row.name, ...columns.flatMap(({ title, ratio }) => (ratio ? [title, 'ratio'] : [title]))];
  const body = row.contestants.map((name) => {
    const one = results.get(name);
    return [
      name,
      ...columns.flatMap(({ text, ratio }) =>
        ratio ? [text(one), ratio(one, first).toFixed(2)] : [text(one)],
      ),
    ];
  });
  return table(head, body);
}

function goalTable(goals) {
  return table(
    ['goal', 'of', 'than', 'by', 'ratio', 'wanted', 'verdict'],
    goals.map(({ row, of, than, by, ratio, wanted, verdict }) => [
      row,
      of,
      than,
      by,
      ratio.toFixed(2),
      wanted,
      verdict,
    ]),
  );
}

/** The first column is of names, the others of figures or short words. */
function table(head, body) {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...body].map((cells) => cells[i].length)));
  const numeric = head.map((_, i) => body.every((cells) => /^[\d.]+$/.test(cells[i])));
  const line = (cells) =>
    `| ${cells.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (numeric[i] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(head), line(rule), ...body.map(line)];
}
