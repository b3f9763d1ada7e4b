import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { INSTRUMENTER_CONSTANTS } from '@stryker-mutator/api/core';
import { declareClassPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin';
import Mocha from 'mocha';

/**
 * Runs mocha's tests against Stryker's mutants. Stryker's own runner counts what a `before` runs for the test that ran last,
 * in another suite; most mutants of a server would be tried with the wrong tests.
 *
 * Where the mutated files run in child processes of the tests, these learn of the mutant from their environment, and child.mjs
 * notes there which mutants a test covers.
 */
class SuiteRunner {
  static inject = tokens('options');

  #context;
  #options;
  #mocha;
  /** Whether a test did not end: what it still does would disturb the next ones. */
  #isDisturbed = false;

  constructor({ suites }) {
    this.#options = suites;
    this.#context = globalThis.__stryker__ ??= {};
  }

  capabilities() {
    // Node loads a module once.
    return { reloadEnvironment: false };
  }

  /** @returns the tests, and which mutants each runs: itself, or the hooks of the suites that it belongs to */
  async dryRun() {
    await this.#load();
    const hooks = new Map();
    const { tests, failure } = await this.#run({
      onSuite: (suite) => {
        this.#setTest(`hooks of suite ${hooks.size}`);
        hooks.set(this.#context.currentTestId, suite);
      },
      onTest: (test) => this.#setTest(test.fullTitle()),
    });
    if (failure) return failed(failure);
    const { static: onLoad, perTest } = structuredClone(
      this.#context.mutantCoverage ?? { static: {}, perTest: {} },
    );
    if (this.#options.inChildren) addHitsOfChildren(perTest);
    for (const [id, suite] of hooks) {
      suite.eachTest((test) => {
        const covered = perTest[test.fullTitle()] ?? {};
        perTest[test.fullTitle()] = covered;
        for (const mutant in perTest[id]) covered[mutant] = (covered[mutant] ?? 0) + perTest[id][mutant];
      });
      delete perTest[id];
    }
    const ran = new Set(tests.map(({ id }) => id));
    for (const id of Object.keys(perTest)) if (!ran.has(id)) delete perTest[id];
    // What a test leaves behind, and fails by when it runs again, would count every mutant as caught.
    this.#setTest(undefined);
    const again = await this.#run({});
    if (again.failure) return failed(again.failure);
    writeFileSync(
      times(),
      JSON.stringify(Object.fromEntries(tests.map(({ id, timeSpentMs }) => [id, timeSpentMs]))),
    );
    return { status: 'complete', tests, mutantCoverage: { static: onLoad, perTest } };
  }

  async mutantRun({ activeMutant, testFilter, hitLimit, mutantActivation }) {
    // Stryker then tries the mutant in a new process.
    if (this.#isDisturbed) throw new Error('a test did not end');
    if (mutantActivation === 'static') this.#context.activeMutant = activeMutant.id;
    this.#context.hitLimit = hitLimit;
    this.#context.hitCount = hitLimit === undefined ? undefined : 0;
    try {
      await this.#load();
    } catch (error) {
      return { status: 'killed', killedBy: [], failureMessage: `${error}`, nrOfTests: 0 };
    }
    const usual = JSON.parse(readFileSync(times(), 'utf8'));
    const chosen = testFilter && new Set(testFilter);
    this.#mocha.suite.eachTest((test) => {
      // `timeout()` would start the timer of a test that has run before.
      test._timeout = shortest + 10 * (usual[test.fullTitle()] ?? 0);
    });
    this.#setMutant(activeMutant.id);
    const { tests, failure } = await this.#run({
      isChosen: (title) => chosen === undefined || chosen.has(title),
    });
    this.#setMutant(undefined);
    this.#isDisturbed = /^Timeout of|done\(\) called multiple times/.test(failure?.message);
    if (this.#context.hitCount > hitLimit) return { status: 'timeout', reason: 'it runs too often' };
    if (!failure) return { status: 'survived', nrOfTests: tests.length };
    return {
      status: 'killed',
      killedBy: [failure.test],
      failureMessage: failure.message,
      nrOfTests: tests.length,
    };
  }

  /** @param id what runs from now on is counted for that test */
  #setTest(id) {
    this.#context.currentTestId = id;
    this.#tellChildren('MUTANTS_TEST', id);
  }

  #setMutant(id) {
    this.#context.activeMutant = id;
    this.#tellChildren(INSTRUMENTER_CONSTANTS.ACTIVE_MUTANT_ENV_VARIABLE, id);
  }

  #tellChildren(name, value) {
    if (!this.#options.inChildren) return;
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }

  async #load() {
    if (this.#mocha) return;
    await import(resolve('dist/test/support/environment.js'));
    if (this.#options.inChildren) {
      process.env.NODE_OPTIONS += ` --import ${new URL('child.mjs', import.meta.url)}`;
      process.env.MUTANTS_HITS = hitsOfChildren();
    }
    // What a mutant leaves behind must not end the process between two runs.
    process.on('uncaughtException', () => {});
    process.on('unhandledRejection', () => {});
    // The server loads plugins while a test runs. What a module does when it is loaded must belong to no test.
    // A file that children run is a command, which would begin.
    if (!this.#options.inChildren) for (const file of this.#options.mutated) await import(resolve(file));
    this.#mocha = new Mocha({ reporter: class {}, timeout: longest, bail: true });
    this.#mocha.cleanReferencesAfterRun(false);
    for (const file of this.#options.files) this.#mocha.addFile(resolve(file));
    await this.#mocha.loadFilesAsync();
    eachSuite(this.#mocha.suite, (suite) => {
      suite.bail(true);
    });
  }

  /** Runs the tests up to the first that fails. */
  #run({ onSuite = () => {}, onTest = () => {}, isChosen = () => true }) {
    const { skip } = this.#options;
    const skipped = skip === undefined ? undefined : new RegExp(skip, 'i');
    this.#mocha.options.grep = { test: (title) => isChosen(title) && !skipped?.test(title) };
    return new Promise((done) => {
      const tests = [];
      let failure;
      const runner = this.#mocha.run(() => done({ tests, failure }));
      runner.on('suite', onSuite);
      runner.on('test', onTest);
      runner.on('pass', (test) =>
        tests.push({
          id: test.fullTitle(),
          name: test.fullTitle(),
          status: succeeded,
          timeSpentMs: test.duration,
        }),
      );
      runner.on('fail', (test, error) => {
        failure ??= { test: test.fullTitle(), message: String(error?.message) };
      });
    });
  }
}

function failed({ test, message }) {
  return { status: 'error', errorMessage: `${test}: ${message}` };
}

function eachSuite(suite, visit) {
  visit(suite);
  for (const child of suite.suites) eachSuite(child, visit);
}

/** Adds what child.mjs has noted: how often a child of which test has run each mutant. */
function addHitsOfChildren(perTest) {
  for (const line of readFileSync(hitsOfChildren(), 'utf8').trim().split('\n')) {
    const { test, hits } = JSON.parse(line);
    perTest[test] ??= {};
    for (const mutant in hits) perTest[test][mutant] = (perTest[test][mutant] ?? 0) + hits[mutant];
  }
}

const hitsOfChildren = () => resolve('hits-of-children.jsonl');
/** How long each test took without a mutant, in the folder where all run. */
const times = () => resolve('times.json');
/** TestStatus.Success of Stryker. */
const succeeded = 0;
/** Milliseconds. */
const shortest = 4000;
const longest = 60_000;

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'suites', SuiteRunner)];
