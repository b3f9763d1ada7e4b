import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import Mocha from 'mocha';

const { EVENT_TEST_PASS, EVENT_TEST_FAIL, EVENT_TEST_PENDING } = Mocha.Runner.constants;

/**
 * Mocha's spec reporter, closing with the line `N passed, N failed, N skipped`. With TEST_COUNTS, the path of a file,
 * a line for each test file goes there instead: the three numbers and the file's path, separated by tabs. So the counts
 * of several runs can be added up, and the files that failed be run again.
 */
export default class Reporter extends Mocha.reporters.Spec {
  readonly #files = new Map<string, { passed: number; failed: number; skipped: number }>();

  constructor(runner: Mocha.Runner, options?: Mocha.MochaOptions) {
    super(runner, options);
    for (const [event, outcome] of [
      [EVENT_TEST_PASS, 'passed'],
      [EVENT_TEST_FAIL, 'failed'],
      [EVENT_TEST_PENDING, 'skipped'],
    ] as const) {
      runner.on(event, ({ file = '' }: Mocha.Runnable) => {
        const path = relative('.', file);
        const counts = this.#files.get(path) ?? { passed: 0, failed: 0, skipped: 0 };
        counts[outcome] += 1;
        this.#files.set(path, counts);
      });
    }
  }

  override epilogue(): void {
    super.epilogue();
    const { passes = 0, failures = 0, pending = 0 } = this.stats;
    if (process.env.TEST_COUNTS) {
      const lines = [...this.#files].map(
        ([file, counts]) => `${Object.values(counts).join('\t')}\t${file}\n`,
      );
      appendFileSync(process.env.TEST_COUNTS, lines.join(''));
    } else console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
}
