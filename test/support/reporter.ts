import { appendFileSync } from 'node:fs';
import Mocha from 'mocha';

/**
 * Mocha's spec reporter, closing with the line `N passed, N failed, N skipped`. With TEST_COUNTS, the path of a file,
 * the three numbers go there as a line instead, so that the counts of several runs can be added up.
 */
export default class Reporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options?: Mocha.MochaOptions) {
    super(runner, options);
    runner.on('retry', (test: Mocha.Test, error: Error) => {
      console.log(`  run once more: ${test.fullTitle()}: ${error.message}`);
    });
  }

  override epilogue(): void {
    super.epilogue();
    const { passes = 0, failures = 0, pending = 0 } = this.stats;
    if (process.env.TEST_COUNTS)
      appendFileSync(process.env.TEST_COUNTS, `${passes} ${failures} ${pending}\n`);
    else console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
}
