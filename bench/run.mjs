import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = fileURLToPath(new URL('.', import.meta.url));
const usage = `Usage: npm run bench -- [options]
  --quick       the host rows alone, in less than a minute
  --only NAME   that group of rows alone (host, traces, limits, workers, connections, start, storage, sessions, encryption,
                mongodb, million), or that server alone (such as fastify); may be given several times
  --rounds N    rounds of which the median is taken (5)
  --seconds N   seconds of load in a round (2; 1 with --quick)
  --profile     one round, and where each server's time went; its figures are not to be compared
  --json FILE   where the figures are written (data/bench/results.json)`;

const options = readOptions();
installPeers();
// Only now, since it imports what was installed.
const { bench } = await import('./bench.mjs');
try {
  process.exitCode = (await bench(options)) ? 0 : 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
        profile: { type: 'boolean', default: false },
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string' },
        json: { type: 'string', default: join(here, '..', 'data', 'bench', 'results.json') },
      },
    });
    return {
      only: values.only ?? (values.quick ? ['host'] : []),
      keepServers: values.quick && !values.profile,
      profile: values.profile,
      rounds: values.profile ? 1 : count('rounds', values.rounds),
      seconds: count('seconds', values.seconds ?? (values.quick ? '1' : '2')),
      json: resolve(values.json),
    };
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}

function count(name, text) {
  if (!/^[1-9]\d{0,2}$/.test(text))
    throw new Error(`--${name} takes a whole number from 1 to 999, not "${text}".`);
  return Number(text);
}

/** The peers have a lock file of their own, so that nobody who only wants the server installs them. */
function installPeers() {
  if (existsSync(join(here, 'node_modules', '.package-lock.json'))) return;
  console.error('Installing the peers to measure against …');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
