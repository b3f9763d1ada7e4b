import fc from 'fast-check';
import { targets } from './targets/index.js';

// Few inputs of each target; `npm run fuzz` makes very many.
describe('generated inputs', () => {
  for (const { name, property: says, inputs, open } of targets) {
    it(`${name}: ${says}`, async () => {
      const { property, close } = await open();
      try {
        await fc.assert(property, { numRuns: inputs.quick });
      } finally {
        await close();
      }
    });
  }
});
