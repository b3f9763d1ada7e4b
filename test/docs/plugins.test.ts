import { expect } from 'chai';
import { comparable, readSteps, type Step, Walkthrough } from '../support/walkthrough.js';

const page = 'docs/plugins.md';

describe(page, () => {
  let steps: readonly Step[];
  let walk: Walkthrough;

  before(async () => {
    steps = await readSteps(page);
    walk = await Walkthrough.start();
  });

  after(() => walk.end());

  it('has files and commands in it', () => {
    expect(steps.filter(({ kind }) => kind === 'file')).to.have.length.above(5);
    expect(steps.filter(({ kind }) => kind === 'console')).to.have.length.above(5);
  });

  it('shows what really happens, step by step', async () => {
    for (const step of steps) {
      if (step.kind === 'file') {
        await walk.write(step.path, step.text);
      } else {
        const outputs = await walk.run(step.commands.map(({ command }) => command));
        for (const [index, { command, output }] of step.commands.entries()) {
          expect(comparable(outputs[index] ?? ''), `${page}:${step.line}: ${command}`).to.equal(
            comparable(output),
          );
        }
      }
    }
  }).timeout(120_000);
});
