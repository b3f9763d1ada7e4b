import { median } from './measure.mjs';
import { rows } from './rows.mjs';

const alone = 'a new connection for each request';
const aloneShared = `${alone}, cores shared with the load`;

/*
 * What the project wants of itself: `than` at least (or, of what should be small, at most) so many times. `by` is what
 * is compared: `speed` takes the better of two ratios, that of answers a second and that of processor time an answer.
 * `paired` compares round by round and takes the median of these ratios, for differences of a few percent.
 * `ofRatio` is the same ratio between two servers by hand, in the same row: the goal is a share of it.
 */
const wanted = [
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['node:http'], atLeast: 0.9 },
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['fastify without log'], atLeast: 1.1 },
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['fastify'], atLeast: 2 },
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['node:http'], by: 'p99', atMost: 1.5 },
  { row: 'no-op JSON POST', of: 'plugin-server, 1000 plugins', than: ['plugin-server'], atLeast: 0.97 },
  {
    row: 'JSON POST of five members, checked',
    of: 'plugin-server with route()',
    than: ['plugin-server'],
    atLeast: 0.87,
  },
  {
    row: 'no-op JSON POST, traces off',
    of: 'plugin-server',
    than: ['plugin-server without hooks for traces'],
    by: 'cpu',
    paired: true,
    atMost: 1.01,
  },
  {
    row: 'no-op JSON POST of 1,000 clients, 2 workers on one core',
    of: 'plugin-server, 2 workers, proxied, rate limit',
    than: ['plugin-server, 2 workers, proxied'],
    by: 'cpu',
    paired: true,
    atMost: 1.02,
  },
  {
    row: 'no-op JSON POST, cores shared with the load',
    of: 'plugin-server, 2 workers',
    than: ['plugin-server'],
    by: 'rate',
    atLeast: 0.95,
    ofRatio: ['node:http, 2 on one socket', 'node:http'],
  },
  {
    row: 'no-op JSON POST, cores shared with the load',
    of: 'node:http, 2 processes',
    than: ['node:http'],
    by: 'rate',
    comparison: true,
  },
  { row: alone, of: 'plugin-server', than: ['node:http'], atLeast: 0.9 },
  {
    row: aloneShared,
    of: 'plugin-server, 2 workers',
    than: ['node:http, 2 processes'],
    by: 'rate',
    atLeast: 1.2,
  },
  {
    row: aloneShared,
    of: 'plugin-server, 2 workers',
    than: ['plugin-server'],
    by: 'rate',
    atLeast: 0.95,
    ofRatio: ['node:http, 2 on one socket', 'node:http'],
  },
  { row: 'behind nginx as it comes', of: 'plugin-server', than: ['node:http'], atLeast: 0.9 },
  {
    row: '10,000 idle connections',
    of: 'plugin-server',
    than: ['node:http'],
    by: 'connectionMemory',
    atMost: 1.3,
  },
  { row: 'start and rest, 10 routes', of: 'plugin-server', than: ['fastify'], by: 'startTime', atMost: 1.5 },
  { row: 'start and rest, 10 routes', of: 'plugin-server', than: ['fastify'], by: 'memory', atMost: 1.5 },
  {
    row: 'start and rest, 10 routes',
    of: 'plugin-server as shipped',
    than: ['fastify'],
    by: 'startTime',
    atMost: 1.5,
  },
  {
    row: 'start and rest, 10 routes',
    of: 'plugin-server as shipped',
    than: ['fastify'],
    by: 'ownMemory',
    atMost: 1.6,
  },
  {
    row: 'start and rest, 10 routes',
    of: 'node:http and a bare parent',
    than: ['fastify'],
    by: 'ownMemory',
    comparison: true,
  },
  {
    row: 'start and rest, 10,000 routes',
    of: 'plugin-server, 1000 plugins',
    than: ['fastify, 1000 plugins'],
    by: 'startTime',
    atMost: 1,
  },
  {
    row: 'start and rest, 10,000 routes',
    of: 'plugin-server, 1000 plugins',
    than: ['fastify, 1000 functions'],
    by: 'startTime',
    comparison: true,
  },
  { row: 'session get', of: 'sessman', than: ['node:http + lmdb'], atLeast: 0.9 },
  { row: 'session check', of: 'sessman', than: ['node:http + lmdb'], atLeast: 0.9 },
  { row: 'session get', of: 'sessman', than: ['@fastify/session', 'koa-session'], atLeast: 1.3 },
  ...['new', 'update', 'patch'].flatMap((call) => [
    { row: `session ${call}`, of: 'sessman', than: ['node:http + lmdb'], atLeast: 1 },
    { row: `session ${call}`, of: 'sessman', than: ['node:http + SQLite'], atLeast: 3.2 },
  ]),
  ...['new', 'update'].map((call) => ({
    row: `session ${call}, encrypted`,
    of: 'sessman, encrypted',
    than: ['sessman'],
    atLeast: 0.85,
  })),
  ...rows
    .filter((row) => row.group === 'mongodb')
    .flatMap((row) => [
      { row: row.name, of: 'sessman on MongoDB', than: ['node:http + mongodb'], atLeast: 0.9 },
      { row: row.name, of: 'sessman on MongoDB', than: ['express-session + connect-mongo'], atLeast: 2 },
    ]),
  ...[
    ['get', 0.9],
    ['new', 0.8],
    ['update', 0.8],
  ].flatMap(([call, atLeast]) => [
    { row: `session ${call} among many`, of: 'sessman, 1M sessions', than: ['sessman'], atLeast },
    {
      row: `session ${call} among many`,
      of: 'node:http + lmdb, 1M sessions',
      than: ['node:http + lmdb'],
      comparison: true,
    },
  ]),
  {
    row: 'session get among many',
    of: 'sessman, 1M sessions',
    than: ['sessman'],
    by: 'anonymousMemory',
    // Heaps differ that much from run to run; a hundred bytes a session would double it.
    atMost: 1.25,
  },
  { row: 'storage set', of: 'storage of a plugin', than: ['lmdb by hand'], atLeast: 0.8 },
  { row: 'storage get', of: 'storage of a plugin', than: ['lmdb by hand'], atLeast: 0.8 },
];

/**
 * Judges results: those goals whose rows were run.
 *
 * @param {Map<string, Map<string, object>>} results medians by row and contestant
 * @returns {{ row: string, of: string, than: string, by: string, ratio: number, wanted: string, verdict: string }[]}
 */
export function judge(results) {
  return wanted.flatMap((goal) => {
    const row = results.get(goal.row);
    const ours = row?.get(goal.of);
    const theirs = goal.than.map((name) => row?.get(name));
    const byHand = goal.ofRatio?.map((name) => row?.get(name)) ?? [];
    if (ours === undefined || theirs.includes(undefined) || byHand.includes(undefined)) return [];
    const { by = 'speed', atMost, comparison } = goal;
    const ratioOf = goal.paired ? medianOfRatios : ratioOfMedians;
    const share = byHand.length === 2 ? ratioOf(byHand[0], byHand[1], by) : 1;
    const atLeast = goal.atLeast === undefined ? undefined : Math.round(goal.atLeast * share * 100) / 100;
    // Against several, the hardest to beat counts.
    const compared = goal.than.map((than, i) => ({ than, ratio: ratioOf(ours, theirs[i], by) }));
    const { than, ratio } = compared.reduce((hardest, one) => (one.ratio < hardest.ratio ? one : hardest));
    return {
      row: goal.row,
      of: goal.of,
      than,
      by,
      ratio,
      wanted: comparison ? '' : atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`,
      verdict: comparison ? 'for comparison' : verdict(ratio, atLeast, atMost),
    };
  });
}

function medianOfRatios(ours, theirs, by) {
  return median(ours.samples.map((sample, round) => ratioOfMedians(sample, theirs.samples[round], by)));
}

function ratioOfMedians(ours, theirs, by) {
  if (by !== 'speed') return ours[by] / theirs[by];
  return Math.max(ours.rate / theirs.rate, theirs.cpu / ours.cpu);
}

function verdict(ratio, atLeast, atMost) {
  const shortfall = atLeast === undefined ? ratio / atMost - 1 : 1 - ratio / atLeast;
  return shortfall <= 0 ? 'met' : `missed by ${(shortfall * 100).toFixed(1)} %`;
}
