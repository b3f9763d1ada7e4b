import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Debian's chromium, or the one at CHROMIUM. Without either a suite is skipped, but never in CI. */
export function needsBrowser(suite: Mocha.Context): void {
  if (!existsSync(executablePath) && !process.env.CI) suite.skip();
}

/**
 * A browser of its own, without a window. It asks nobody on the network for anything but what its pages do. Of Playwright's
 * own switches, `without` are left out.
 */
export function launchBrowser(
  args: readonly string[] = [],
  without: readonly string[] = [],
): Promise<Browser> {
  if (!existsSync(executablePath)) {
    throw new Error(
      `no browser at ${executablePath}: apt-get install chromium, or set CHROMIUM to the path of one`,
    );
  }
  return chromium.launch({
    executablePath,
    ignoreDefaultArgs: [...without],
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...args,
    ],
  });
}
