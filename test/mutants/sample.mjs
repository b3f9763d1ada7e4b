import { createHash } from 'node:crypto';
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';

/** The part of all mutants that are tried, and the seed that draws them. */
const rate = Number(process.env.MUTANTS_RATE ?? 1);
const seed = process.env.MUTANTS_SEED ?? '1';

/** Whether the mutant of this number is drawn: the same in each run with this seed over the same files. */
export function isDrawn(id) {
  return createHash('sha256').update(`${seed} ${id}`).digest().readUInt32BE() / 2 ** 32 < rate;
}

/** Stryker tries no mutant that a checker refuses. */
class Sample {
  async init() {}

  async group(mutants) {
    return [mutants.map(({ id }) => id)];
  }

  async check(mutants) {
    return Object.fromEntries(
      mutants.map(({ id }) => [
        id,
        isDrawn(id) ? { status: 'passed' } : { status: 'compileError', reason: 'not drawn' },
      ]),
    );
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.Checker, 'sample', Sample)];
