import { expect } from 'chai';
import { z } from 'zod';
import { brokenCases, check, network } from './broken-cases.js';
import { read, sentences } from './memory.js';

describe('a broken configuration', () => {
  for (const { what, ini, files, env = {}, problems } of brokenCases) {
    it(`names ${what}`, () => {
      const configuration = read({ 'plugin-server.ini': ini.join('\n'), ...files }, { env });
      check(configuration);
      const expected = problems.map((problem) =>
        /^\d/.test(problem) ? `plugin-server.ini:${problem}` : problem,
      );
      expect(sentences(configuration)).to.deep.equal(expected);
    });
  }

  it('is a problem when the file is missing', () => {
    expect(sentences(read({}))).to.deep.equal(['plugin-server.ini:1:1: the file does not exist']);
  });

  it('is a problem when the file is a folder', () => {
    expect(sentences(read({ 'plugin-server.ini': { code: 'EISDIR' } }))).to.deep.equal([
      'plugin-server.ini:1:1: the file is a folder',
    ]);
  });

  it('names what is missing where the section is missing too', () => {
    const configuration = read('[main]');
    expect(configuration.read('shop', z.object({ port: z.int().min(1024) }))).to.equal(undefined);
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:1:1: "port" in [shop] is missing; write [shop] and below it port=int:1024',
    ]);
  });

  it('names what is missing at the section where there is one', () => {
    const configuration = read('[main]\n[ Shop ]\n');
    configuration.read('shop', z.object({ name: z.string().meta({ example: 'corner' }) }));
    expect(sentences(configuration)).to.deep.equal([
      'plugin-server.ini:2:3: "name" in [shop] is missing; write name=corner',
    ]);
  });

  it('stays one problem however often it is read', () => {
    const configuration = read('[network]\nprot=1');
    for (let time = 0; time < 3; time += 1) configuration.read('network', network);
    expect(sentences(configuration)).to.have.length(1);
  });
});
