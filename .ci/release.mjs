// Makes a release: `npm run release -- patch|minor|major|X.Y.Z [--dry-run]`.
//
// It checks that everything is committed and that CHANGELOG.md says what is new, runs the tests, sets the version, packs
// the tarball into release/ with its SBOM, has publint and attw judge it, and serves a session from it in an empty folder.
// Only then does it commit and tag. With --dry-run, or when a step fails, package.json and CHANGELOG.md are as before.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const [bump, ...flags] = process.argv.slice(2);
const isDryRun = flags.includes('--dry-run');
if (bump === undefined || !/^(?:patch|minor|major|\d+\.\d+\.\d+)$/.test(bump)) {
  console.error('usage: npm run release -- patch|minor|major|X.Y.Z [--dry-run]');
  process.exit(2);
}

const run = (file, args, options = {}) =>
  execFileSync(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', ...options });
const step = (title) => console.log(`== ${title}`);
const files = ['package.json', 'package-lock.json', 'CHANGELOG.md'];

step('everything is committed');
if (run('git', ['status', '--porcelain']).trim() !== '' && !isDryRun)
  fail('Commit or stash your changes first.');
const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
const [, news = ''] = /^## \[Unreleased\]\n([\s\S]*?)(?=^## \[|$(?![\s\S]))/m.exec(changelog) ?? [];
if (news.trim() === '') fail('CHANGELOG.md has nothing under [Unreleased]: say what is new.');

const kept = mkdtempSync(join(tmpdir(), 'plugin-server-release-'));
for (const file of files) copyFileSync(join(root, file), join(kept, file));
const restore = () => {
  for (const file of files) copyFileSync(join(kept, file), join(root, file));
};

try {
  step('tests');
  if (!isDryRun) run('npm', ['test'], { stdio: 'inherit' });

  step('version and changelog');
  run('npm', ['version', bump, '--no-git-tag-version', '--allow-same-version']);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const day = new Date().toISOString().slice(0, 10);
  writeFileSync(
    join(root, 'CHANGELOG.md'),
    changelog.replace('## [Unreleased]\n', `## [Unreleased]\n\n## [${version}] - ${day}\n`),
  );

  step('pack');
  run('npm', ['run', 'build'], { stdio: 'inherit' });
  const target = join(root, 'release');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  const [{ filename }] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', target]),
  );
  const tarball = join(target, filename);
  writeFileSync(
    join(target, `plugin-server-${version}.cdx.json`),
    run('npm', ['sbom', '--omit', 'dev', '--sbom-format', 'cyclonedx'], { maxBuffer: 1e8 }),
  );

  step('publint and attw');
  run('npx', ['publint', tarball, '--strict'], { stdio: 'inherit' });
  run('npx', ['attw', tarball, '--profile', 'esm-only'], { stdio: 'inherit' });

  step('a session from the tarball, in an empty folder');
  await smokeTest(tarball, version);

  if (isDryRun) {
    restore();
    console.log(`dry run: ${tarball} is right; nothing was committed`);
  } else {
    run('git', ['commit', '--quiet', '--message', `Release ${version}`, '--', ...files]);
    run('git', ['tag', '--annotate', `v${version}`, '--message', `plugin-server ${version}`]);
    console.log(`released ${version}: push the commit and its tag, then npm publish ${tarball}`);
  }
} catch (error) {
  restore();
  throw error;
} finally {
  rmSync(kept, { recursive: true, force: true });
}

async function smokeTest(tarball, version) {
  const folder = mkdtempSync(join(tmpdir(), 'plugin-server-smoke-'));
  const bin = join(folder, 'node_modules/.bin/plugin-server');
  const inFolder = { cwd: folder };
  try {
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
    run('npm', ['install', '--no-audit', '--no-fund', tarball], inFolder);
    if (run(bin, ['--version'], inFolder).trim() !== version) fail('The tarball has another version.');
    writeFileSync(join(folder, 'plugin-server.ini'), '[network]\nport=int:0\n');
    run(bin, ['check'], inFolder);
    const server = spawn(bin, ['start'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let url;
      for await (const line of createInterface({ input: server.stdout })) {
        ({ url } = JSON.parse(line));
        if (url !== undefined) break;
      }
      const answer = await fetch(`${url}/sessman/new?userid=ann`, { method: 'POST' });
      if (answer.status !== 200) fail(`A new session was answered with ${answer.status}.`);
    } finally {
      server.kill('SIGTERM');
      await once(server, 'exit');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
