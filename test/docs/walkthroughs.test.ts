import { expect } from 'chai';
import { comparable, readSteps, Walkthrough } from '../support/walkthrough.js';

/** Pages whose files and commands a reader carries out from top to bottom. */
const pages = [
  'README.md',
  'docs/index.md',
  'docs/commands.md',
  'docs/embedding.md',
  'docs/admin.md',
  'docs/deploying.md',
  'docs/monitoring.md',
  'docs/plugins.md',
  'docs/files.md',
  'docs/configuration.md',
  'docs/sessman.md',
  'docs/migrating.md',
];

for (const page of pages) {
  describe(page, () => {
    it('shows what really happens, step by step', async () => {
      const steps = await readSteps(page);
      expect(steps.map(({ kind }) => kind)).to.include('console');
      let walk = await Walkthrough.start();
      try {
        for (const step of steps) {
          if (step.kind === 'new folder') {
            await walk.end();
            walk = await Walkthrough.start();
            continue;
          }
          if (step.kind === 'file') {
            await walk.write(step.path, step.text);
            continue;
          }
          const outputs = await walk.run(step.commands.map(({ command }) => command));
          for (const [index, { command, output }] of step.commands.entries()) {
            expect(comparable(outputs[index] ?? ''), `${page}:${step.line}: ${command}`).to.equal(
              comparable(output),
            );
          }
        }
      } finally {
        await walk.end();
      }
    }).timeout(120_000);
  });
}
