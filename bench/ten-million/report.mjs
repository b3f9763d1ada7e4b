import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ratio } from './beside.mjs';

const page = fileURLToPath(new URL('../../docs/scale.md', import.meta.url));

/** What the stages have seen so far, as tables in Markdown. */
export function report({ state, count }) {
  const tables = [
    machine(state),
    inserts(state, count),
    latencies(state),
    memories(state),
    beside(state),
    others(state, count),
  ];
  return tables.filter((each) => each !== undefined).join('\n\n');
}

/** Puts the tables into docs/scale.md. */
export function writeReport(run) {
  const text = readFileSync(page, 'utf8');
  const name = run.isTenth ? 'one million' : 'ten million';
  const [begin, end] = ['begin', 'end'].map((edge) => `<!-- ${name}: ${edge} -->`);
  const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  writeFileSync(page, `${text.slice(0, from)}\n${report(run)}\n${text.slice(to)}`);
}

/** Where, when, and beside how much else, each stage ran. */
function machine({ complete, load = {} }) {
  const where = `${cpus()[0].model.trim()}, ${cpus().length} cores, ${gigabytes(totalmem())} GB; Linux ${release()}; Node ${process.version}.`;
  const stages = Object.entries(complete).map(
    ([name, time]) => `\`${name}\` ${time.slice(0, 10)} (${load[name] ?? '–'})`,
  );
  return `${where} Each stage with its day, and the load average of the machine before it: ${stages.join(', ')}.`;
}

function inserts({ buildSeconds, file, http, httpRates }, count) {
  if (buildSeconds === undefined) return undefined;
  const rows = [0.1, 0.3, 1].map((share) => {
    const at = share * count;
    const bulk = buildSeconds[at] && count / 10 / buildSeconds[at];
    const rates = httpRates?.[at] ?? [];
    return [
      whole(at),
      whole(bulk),
      rates.length > 0 ? `${whole(Math.min(...rates))} to ${whole(Math.max(...rates))}` : '–',
      whole(http?.[at]),
      gigabytes(file?.[at]),
    ];
  });
  return table(['sessions', 'bulk, sessions/s', '`new` over HTTP, sessions/s', 'of them', 'file, GB'], rows);
}

function latencies({ latency }) {
  if (latency === undefined) return undefined;
  const rows = Object.entries(latency).flatMap(([name, calls]) =>
    Object.entries(calls).map(([call, { peak, rate, p50, p99, max, refused, machineLoad }]) => [
      name,
      call,
      whole(peak),
      whole(rate),
      p50,
      p99,
      max,
      whole(refused),
      machineLoad?.toFixed(1) ?? '–',
    ]),
  );
  return table(
    ['store', 'call', 'peak/s', 'sent/s', 'p50 ms', 'p99 ms', 'slowest ms', '503s', 'load average before'],
    rows,
  );
}

function memories({ latency }) {
  if (latency === undefined) return undefined;
  const rows = Object.entries(latency).map(([name, { patch }]) => {
    const { rssAnon, rssFile, cgroup, cgroupFile } = patch?.memory ?? {};
    return [name, ...[rssAnon, rssFile, cgroup, cgroupFile].map(gigabytes)];
  });
  return table(['store', 'RssAnon, GB', 'RssFile, GB', 'cgroup, GB', 'of it page cache, GB'], rows);
}

/** What requests noticed of other work. */
function beside({ expiry, backup, scrub, encryption, ends, load = {} }) {
  const works = [
    ['expiry', `${whole(expiry?.count)} sessions expire within a minute, and are removed`, expiry],
    ['backup', 'sessman-backup', backup],
    ['scrub', 'sessman-scrub', scrub],
    ['encryption', 'all records are encrypted', encryption?.encrypted],
    ['encryption', 'all records are encrypted with another key', encryption?.rotated],
    ['ends', '`end_all` of everyone, and the removal of their records', ends],
  ];
  const rows = works
    .filter(([, , seen]) => seen !== undefined)
    .map(([stage, name, seen]) => [
      name,
      seen.seconds.toFixed(1),
      whole(seen.during.rate),
      seen.before.p99,
      seen.during.p99,
      seen.after?.p99 ?? '–',
      ratio(seen),
      seen.during.max,
      whole(seen.during.refused),
      load[stage]?.toFixed(1) ?? '–',
    ]);
  if (rows.length === 0) return undefined;
  const times = ['p99 ms before', 'p99 ms', 'p99 ms after', 'ratio', 'slowest ms'];
  return table(['meanwhile', 'seconds', 'sent/s', ...times, '503s', 'load average before'], rows);
}

function others({ start, size, list, backup, restore, encryption, ends }, count) {
  const rows = [
    ...Object.entries(start ?? {}).map(([name, times]) => [
      `first response, ${name}`,
      `${times.join(', ')} ms`,
    ]),
    size && [
      `data of ${whole(size.sessions)} sessions; their file`,
      `${gigabytes(size.data)} GB; ${gigabytes(size.bytes)} GB, ${gigabytes(size.free)} GB of it free`,
    ],
    list && [
      'list of 1,000 sessions of one user',
      `${list.cold} ms with the page cache dropped, then p50 ${list.p50} ms, slowest ${list.max} ms`,
    ],
    list && [
      'a page of 100 sessions of everybody; of users with a prefix',
      `${list.page} ms; ${list.prefixed} ms`,
    ],
    backup && ['the backup', `${gigabytes(backup.size)} GB; the store grew by ${gigabytes(backup.grew)} GB`],
    restore && ['sessman-restore --keep-sessions', `${restore.seconds.toFixed(1)} s`],
    ...Object.entries(encryption ?? {}).map(([name, { result, seconds }]) => [
      `records ${name}`,
      `${whole(result)} in ${seconds.toFixed(0)} s: ${whole(result / seconds)} a second`,
    ]),
    ends && [
      '`end_all` of everyone',
      `response after ${ends.answered.toFixed(0)} ms; ${whole(ends.result / ends.seconds)} records a second removed afterwards`,
    ],
  ].filter(Boolean);
  return rows.length > 0 ? table([`${whole(count)} sessions`, 'seen'], rows) : undefined;
}

function whole(number) {
  return number === undefined ? '–' : Math.round(number).toLocaleString('en');
}

function gigabytes(bytes) {
  return bytes === undefined ? '–' : (bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1);
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
