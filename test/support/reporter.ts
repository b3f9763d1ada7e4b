import { appendFileSync } from 'node:fs';
import Mocha from 'mocha';

/**
 * Mocha's spec reporter, closing with the line `N passed, N failed, N skipped`. With TEST_COUNTS, the path of a file,
 * the three numbers go there as a line instead, so that the counts of several runs can be added up.
 */
export default class Reporter extends Mocha.reporters.Spec {
  override epilogue(): void {
    super.epilogue();
    const { passes = 0, failures = 0, pending = 0 } = this.stats;
    if (process.env.TEST_COUNTS)
      appendFileSync(process.env.TEST_COUNTS, `${passes} ${failures} ${pending}\n`);
    else console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
  }
}
