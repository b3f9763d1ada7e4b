import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, platform, release, totalmem } from 'node:os';

const require = createRequire(import.meta.url);
const peers = Object.keys(require('./package.json').dependencies);

/** Whether a command can be found on the PATH. */
export function installed(command) {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}

/** As `taskset --cpu-list` takes them: where servers run, where all that is not measured runs, and the two together. */
export const serverCore = '0';
export const otherCore = '1';
export const bothCores = '0,1';

/** Stops where the figures could not be had: they come from Linux's /proc, on two cores. */
export function requireMachine() {
  if (platform() !== 'linux') throw new Error('the benchmark reads /proc: run it on Linux');
  if (!installed('taskset'))
    throw new Error('the benchmark pins servers to a core: install taskset (util-linux)');
  if (availableParallelism() < 2)
    throw new Error('the benchmark needs two cores: one for the server, one for the load');
}

/** Moves this process, its children to come included, off the core that servers are measured on. */
export function leaveServerCore() {
  execFileSync('taskset', ['--all-tasks', '--pid', '--cpu-list', otherCore, String(process.pid)], {
    stdio: 'ignore',
  });
}

/** What the figures were seen on. */
export function machine() {
  const [processor] = cpus();
  return {
    processor: processor?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${distribution()}, Linux ${release()}`,
    node: process.version,
    load: installed('wrk') ? 'wrk' : 'autocannon',
    versions: {
      'plugin-server': require('../package.json').version,
      ...Object.fromEntries(peers.map((name) => [name, versionOf(name)])),
    },
  };
}

function distribution() {
  return existsSync('/etc/os-release')
    ? (/^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown')
    : 'unknown';
}

/** Read from the installed file, since not every package exports its package.json. */
function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version;
}
