/**
 * Generates inputs by their structure and checks a property of each: `npm run fuzz` runs every target, `npm run fuzz -- ini`
 * those whose names begin with `ini`. `--runs N` sets the number of inputs, `--seed N` repeats a run, and with `--path P` only
 * the input that failed.
 */
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { targets } from './targets/index.js';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    path: { type: 'string' },
  },
});

const chosen = targets.filter(
  ({ name }) => positionals.length === 0 || positionals.some((prefix) => name.startsWith(prefix)),
);
if (chosen.length === 0) {
  process.stderr.write(`targets are ${targets.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}

const seed = Number(options.seed);
const rows: string[] = [];
for (const { name, property: says, inputs, open } of chosen) {
  process.stderr.write(`${name} … `);
  const begun = performance.now();
  const opened = await open();
  try {
    const { path } = options;
    const numRuns = Number(options.runs ?? inputs.long);
    const details = await fc.check(opened.property, { numRuns, seed, ...(path !== undefined && { path }) });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    process.stderr.write(`${details.failed ? 'FAILED' : 'held'} (${seconds} s)\n`);
    if (details.failed) {
      process.exitCode = 1;
      process.stderr.write(`${fc.defaultReportMessage(details)}\n`);
      process.stderr.write(`${(details.errorInstance as Error | null)?.stack}\n`);
      process.stderr.write(
        `again: npm run fuzz -- ${name} --seed ${seed} --path ${details.counterexamplePath}\n`,
      );
    }
    rows.push(
      `| ${name} | ${says} | ${details.numRuns.toLocaleString('en')} | ${details.failed ? 'FAILED' : 'held'} |`,
    );
  } finally {
    await opened.close();
  }
}
process.stdout.write(
  `\nseed ${seed}\n\n| target | what holds | inputs | |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`,
);
process.exit();
