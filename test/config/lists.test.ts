import { expect } from 'chai';
import { z } from 'zod';
import { integer, keys, list, origins } from '../../config/index.js';
import { read, sentences } from './memory.js';

const schema = z.object({
  ports: list(integer()).optional(),
  key: keys().optional(),
  origin: origins().optional(),
});

function problems(line: string): string[] {
  const configuration = read(`[s]\n${line}`);
  configuration.read('s', schema);
  return sentences(configuration);
}

describe('a list', () => {
  for (const line of [
    'ports=list:int:1,int:2',
    'ports=list:1,2',
    'ports=1,2',
    'ports=list:1, 2',
    'ports=int:1,int:2 3',
    'key=a,b',
    'key=list:a,b',
    'key=list:a, b',
    'origin=https://a,https://b',
    'origin=list:https://a,https://b',
    'origin=list:https://a, https://b',
  ]) {
    it(`takes no commas: ${line}`, () => {
      const found = problems(line);
      expect(found).to.have.length(1);
      expect(found[0]).to.match(/blanks|list:\S+ \S+/);
    });
  }

  for (const origin of [
    'null',
    'htps//a',
    'htps://a',
    'https:/a',
    'https://',
    'a.example',
    'https://a.example/path',
    'https://a.example?x=1',
    'https://a.example#x',
    'https://u:p@a.example',
    'https://a.example:99999',
    'https://*.example',
    '//a.example',
    'list:* https://a.example',
  ]) {
    it(`of origins refuses ${origin}`, () => {
      expect(problems(`origin=${origin}`)).to.have.length(1);
    });
  }

  it('of origins gives each as a browser sends it', () => {
    const given = '* ';
    expect(read(`[s]\no=${given}`).read('s', z.object({ o: origins() }))).to.deep.equal({ o: ['*'] });
    const line =
      'o=https://A.example:443 http://a.example:8080 https://b.example/ http://[::1]:3000 https://bücher.example capacitor://localhost';
    expect(read(`[s]\n${line}`).read('s', z.object({ o: origins() }))).to.deep.equal({
      o: [
        'https://a.example',
        'http://a.example:8080',
        'https://b.example',
        'http://[::1]:3000',
        'https://xn--bcher-kva.example',
        'capacitor://localhost',
      ],
    });
  });
});
