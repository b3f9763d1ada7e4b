// node bench/scale.mjs                      prints the tables of docs/scale.md
// node bench/scale.mjs --measure URL        measures the constants on that MongoDB; without a URL, on the tests' stand-in
// node bench/scale.mjs --measure embedded   measures 100,000 sessions in the embedded store
//
// A model of sessman with 1e6 to 1e9 live sessions. An assumed constant is a range, and so is all that follows from it.
import { readFile, writeFile } from 'node:fs/promises';

const file = new URL('scale.json', import.meta.url);
const sizes = [1e6, 1e7, 1e8, 1e9];
const day = 86_400;

/** By --measure. `real` is there once that was a mongod. */
const measured = JSON.parse(await readFile(file, 'utf8'));

/** What MongoDB's documentation and code say; docs/scale.md names the pages. */
const cited = {
  /** Of the memory less 1 GB, by default. */
  cacheShare: 0.5,
};

/** What sessman's code says. */
const coded = {
  /** Seconds of ends that each read of ends repeats: stores/mongodb/notes.ts. */
  overlap: 5,
};

/** Lowest and highest. Change them to what you know of your service and servers. */
const assumed = {
  dataBytes: [200, 2000],
  useridBytes: [8, 36],
  /** From its creation to its end. */
  lifeDays: [1, 14],
  /** update, patch, touch and renew. */
  writesPerDay: [2, 20],
  /** get and check. */
  readsPerDay: [10, 200],
  /** list and end_all. */
  listsPerDay: [0.02, 0.5],
  /** Of sessions that are ended, rather than expire. */
  endedShare: [0.05, 0.5],
  /** The busiest second, as a multiple of the mean. */
  peak: [2, 5],
  /** Of documents that are used within an hour or so. */
  hotShare: [0.05, 0.5],
  /** Bytes on disk for each byte of a document. */
  compression: [0.3, 0.9],
  /** Bytes of an index entry beside its key: record id, types, unused parts of pages. */
  entryOverhead: [8, 40],
  memoryGB: [64, 64],
  diskGB: [2000, 2000],
  writesPerShard: [5000, 30_000],
  readsPerShard: [20_000, 100_000],
  ttlDeletesPerShard: [2000, 20_000],
  /** Requests a second that a host of plugin-server serves. */
  hostRequests: [2000, 8000],
  /** Change events and ends a second that one process reads. */
  eventsPerReader: [5000, 50_000],
  endsPerReader: [20_000, 100_000],
  /** Seconds of an empty read. */
  roundTrip: [0.001, 0.005],
};

const one = (value) => (Array.isArray(value) ? value : [value, value]);
const fold =
  (operation) =>
  (first, ...rest) =>
    rest.map(one).reduce(operation, one(first));
const plus = fold(([a, b], [c, d]) => [a + c, b + d]);
const times = fold(([a, b], [c, d]) => [a * c, b * d]);
const over = fold(([a, b], [c, d]) => [a / d, b / c]);
const most = fold(([a, b], [c, d]) => [Math.max(a, c), Math.max(b, d)]);
const atLeastOne = ([a, b]) => [Math.max(1, Math.ceil(a)), Math.max(1, Math.ceil(b))];

/** What that many live sessions need. Bytes in GB, rates a second in the busiest second. */
export function model(sessions) {
  const { bytes, entries, calls, real = {} } = measured;
  const a = { ...assumed, ...(real.writesPerShard && { writesPerShard: real.writesPerShard }) };
  const documentBytes = plus(bytes.document, a.dataBytes, a.useridBytes);
  const indexBytes = real.indexBytes ?? plus(bytes.key, a.useridBytes, times(entries, a.entryOverhead));
  const aSecond = (perDay) => times(over(times(sessions, perDay), day), a.peak);

  const documents = times(sessions, documentBytes, 1e-9);
  const indexes = times(sessions, indexBytes, 1e-9);
  const workingSet = plus(indexes, times(documents, a.hotShare));
  const disk = plus(indexes, times(documents, real.compression ?? a.compression));

  const created = aSecond(over(1, a.lifeDays));
  const ends = times(created, a.endedShare);
  const ttlDeletes = created;
  const changes = aSecond(a.writesPerDay);
  const writes = plus(created, changes, ends);
  const reads = aSecond(a.readsPerDay);
  const lists = aSecond(a.listsPerDay);
  const entryChanges = plus(
    times(created, calls.new.entries),
    times(changes, calls.touch.entries),
    times(ends, calls.end.entries),
    times(ttlDeletes, entries),
  );
  const events = plus(changes, ends, ttlDeletes);
  const hosts = atLeastOne(over(plus(writes, reads, lists), a.hostRequests));
  // Seconds that a read of ends takes. It repeats what it has read shortly before; full is a watcher told a second late.
  const readOfEnds = plus(a.roundTrip, over(times(ends, coded.overlap), a.endsPerReader));

  const cache = times(plus(a.memoryGB, -1), cited.cacheShare);
  const load = {
    memory: over(workingSet, cache),
    disk: over(disk, a.diskGB),
    writes: over(writes, a.writesPerShard),
    reads: over(reads, a.readsPerShard),
    'TTL deletes': over(ttlDeletes, a.ttlDeletesPerShard),
  };
  const shards = atLeastOne(most(...Object.values(load)));
  const watch = {
    'change events': over(events, a.eventsPerReader),
    'reads of ends': readOfEnds,
  };
  return {
    documents,
    indexes,
    workingSet,
    disk,
    writes,
    entryChanges,
    reads,
    ttlDeletes,
    ends,
    events,
    hosts,
    lists,
    shards,
    sentToHosts: times(events, hosts, calls.watch.received, 1e-6),
    listCommands: times(lists, shards),
    load: { ...load, ...watch },
  };
}

const rows = {
  documents: 'documents, GB',
  indexes: 'indexes, GB',
  workingSet: 'working set, GB',
  disk: 'disk of a member, GB',
  writes: 'writes/s',
  entryChanges: 'index entries changed/s',
  reads: 'reads/s',
  ttlDeletes: 'TTL deletes/s',
  shards: 'shards',
  hosts: 'hosts of plugin-server',
  events: 'change events/s, to each host',
  sentToHosts: 'change events to all hosts, MB/s',
  ends: 'ends/s',
  lists: 'list and end_all/s',
  listCommands: 'commands to shards for them/s',
};

/** The load of one replica set, and of the one process of a host that reads changes, as parts of what each can carry. */
function print() {
  const models = sizes.map(model);
  const row = (name, of) => [name, ...models.map(of)];
  const { calls, embedded } = measured;
  const [low, high] = assumed.dataBytes;
  const fileOf = (n) => (n > 1e7 ? '-' : range(times(n, [embedded.bytes[low], embedded.bytes[high]], 1e-9)));
  const header = sizes.map(count);
  return [
    table([
      ['a call', 'round trips', 'bytes sent', 'bytes received', 'index entries'],
      ...Object.entries(calls)
        .filter(([name]) => name !== 'watch')
        .map(([name, { trips, sent, received, entries }]) => [
          name,
          ...[trips, sent, received, entries].map(String),
        ]),
    ]),
    table([
      ['sessions', ...header],
      ...Object.entries(rows).map(([key, name]) => row(name, (needs) => range(needs[key]))),
    ]),
    table([
      ['load of one, 1 = full', ...header],
      ...Object.keys(models[0].load).map((name) => row(name, ({ load }) => range(load[name]))),
    ]),
    models.map(({ load }, index) => `${header[index]}: ${verdict(load)}`).join('\n'),
    table([
      ['embedded store', ...header],
      [`file, GB, from ${count(embedded.sessions)}`, ...sizes.map(fileOf)],
    ]),
  ].join('\n\n');
}

/** What is full for certain, and what may be, the fullest first. */
function verdict(load) {
  const full = Object.entries(load).sort(([, [, a]], [, [, b]]) => b - a);
  const sure = full.filter(([, [low]]) => low > 1).map(([name]) => name);
  const possible = full.filter(([, [low, high]]) => low <= 1 && high > 1).map(([name]) => name);
  const parts = [
    sure.length > 0 && `breaks: ${sure.join(', ')}`,
    possible.length > 0 && `may break: ${possible.join(', ')}`,
  ];
  return parts.filter(Boolean).join('; ') || 'one replica set carries it';
}

function table(cells) {
  const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[0])))
        .join('  '),
    )
    .join('\n');
}

function range(value) {
  const [low, high] = one(value).map(count);
  return low === high ? low : `${low}..${high}`;
}

/** Two digits: `0.012`, `3.4`, `120`, `12k`, `3.4M`. */
function count(value) {
  const [unit, name] = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ].find(([size]) => value >= size) ?? [1, ''];
  return `${Number((value / unit).toPrecision(2))}${name}`;
}

async function measure(where) {
  const { measureEmbedded, measureMongo } = await import('./scale-measure.mjs');
  const result =
    where === 'embedded' ? { embedded: await measureEmbedded(assumed.dataBytes) } : await measureMongo(where);
  await writeFile(file, `${JSON.stringify({ ...measured, ...result }, null, 2)}\n`);
  return JSON.stringify(result, null, 2);
}

const [option, where] = process.argv.slice(2);
console.log(option === '--measure' ? await measure(where) : print());
