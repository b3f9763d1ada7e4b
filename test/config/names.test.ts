import { expect } from 'chai';
import { NameMap } from '../../config/names.js';

describe('NameMap', () => {
  it('is a Map whose keys are matched without case', () => {
    const map = new NameMap<number>().set('Port', 1).set('host', 2).set('PORT', 3);
    expect([...map]).to.deep.equal([
      ['Port', 3],
      ['host', 2],
    ]);
    expect([map.get('pOrT'), map.has('HOST'), map.get('x'), map.written('port')]).to.deep.equal([
      3,
      true,
      undefined,
      'Port',
    ]);
    expect([map.delete('PORT'), map.delete('PORT'), map.size, map.has('Port')]).to.deep.equal([
      true,
      false,
      1,
      false,
    ]);
    map.clear();
    expect([map.size, map.has('host')]).to.deep.equal([0, false]);
  });
});
