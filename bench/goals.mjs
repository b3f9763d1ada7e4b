import { rows } from './rows.mjs';

/*
 * What the project wants of itself: `than` at least (or, of what should be small, at most) so many times. `by` is what
 * is compared: `speed` takes the better of two ratios, that of answers a second and that of processor time an answer.
 */
const wanted = [
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['node:http'], atLeast: 1.0 },
  { row: 'no-op JSON POST', of: 'plugin-server', than: ['fastify'], atLeast: 1.3 },
  { row: 'no-op JSON POST', of: 'plugin-server, 1000 plugins', than: ['plugin-server'], atLeast: 0.97 },
  {
    row: 'no-op JSON POST, cores shared with the load',
    of: 'plugin-server, 2 workers',
    than: ['plugin-server'],
    by: 'rate',
    atLeast: 1.3,
  },
  {
    row: 'no-op JSON POST, cores shared with the load',
    of: 'node:http, 2 processes',
    than: ['node:http'],
    by: 'rate',
    comparison: true,
  },
  { row: 'start and rest, 10 routes', of: 'plugin-server', than: ['fastify'], by: 'startTime', atMost: 1.5 },
  { row: 'start and rest, 10 routes', of: 'plugin-server', than: ['fastify'], by: 'memory', atMost: 1.5 },
  { row: 'session get', of: 'sessman', than: ['node:http + lmdb'], atLeast: 0.9 },
  { row: 'session get', of: 'sessman', than: ['@fastify/session', 'koa-session'], atLeast: 1.3 },
  ...['new', 'update', 'patch'].flatMap((call) => [
    { row: `session ${call}`, of: 'sessman', than: ['node:http + lmdb'], atLeast: 0.9 },
    { row: `session ${call}`, of: 'sessman', than: ['node:http + SQLite'], atLeast: 3.2 },
  ]),
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
    if (ours === undefined || theirs.includes(undefined)) return [];
    const { by = 'speed', atLeast, atMost, comparison } = goal;
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

function ratioOf(ours, theirs, by) {
  if (by !== 'speed') return ours[by] / theirs[by];
  return Math.max(ours.rate / theirs.rate, theirs.cpu / ours.cpu);
}

function verdict(ratio, atLeast, atMost) {
  const shortfall = atLeast === undefined ? ratio / atMost - 1 : 1 - ratio / atLeast;
  return shortfall <= 0 ? 'met' : `missed by ${(shortfall * 100).toFixed(1)} %`;
}
