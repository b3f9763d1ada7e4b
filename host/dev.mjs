// Compiles on each save and restarts the server: `npm run dev`. What follows `--` goes to `plugin-server start`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const run = (file, args, stdio = 'inherit') => spawn(process.execPath, [file, ...args], { cwd: root, stdio });
const finished = async (child) => (await once(child, 'exit'))[0] === 0;

let server;
async function restart() {
  if (!(await finished(run('host/bundle.mjs', [])))) return;
  if (server?.exitCode === null) {
    server.kill('SIGTERM');
    await once(server, 'exit');
  }
  server = run('dist/bundle/cli.js', ['start', '--watch', ...process.argv.slice(2)]);
}

await finished(run('plugins/admin/page/build.mjs', []));
const compiler = run(
  'node_modules/typescript/bin/tsc',
  ['--watch', '--preserveWatchOutput'],
  ['ignore', 'pipe', 'inherit'],
);
let restarting = Promise.resolve();
createInterface({ input: compiler.stdout }).on('line', (line) => {
  console.log(line);
  if (/Found 0 errors/.test(line)) restarting = restarting.then(restart);
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, async () => {
    compiler.kill();
    if (server?.exitCode === null) {
      server.kill('SIGTERM');
      await once(server, 'exit');
    }
    process.exit();
  });
}
