import { expect } from 'chai';
import { z } from 'zod';
import { integer, keys, list, networks, origins } from '../../config/index.js';
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

describe('a list of networks', () => {
  const given = (text: string) => {
    const configuration = read(`[s]\npeers=${text}`);
    const value = configuration.read('s', z.object({ peers: networks() }))?.peers;
    return { value, found: sentences(configuration) };
  };

  for (const [text, value] of [
    ['10.0.0.7', ['10.0.0.7']],
    ['list:10.0.0.7 10.0.0.0/8', ['10.0.0.7', '10.0.0.0/8']],
    ['10.0.0.7/32', ['10.0.0.7']],
    ['0.0.0.0/0', ['0.0.0.0/0']],
    ['::1', ['::1']],
    ['FD00:0:0:0::/8', ['fd00::/8']],
    ['2001:db8::1/128', ['2001:db8::1']],
    ['::ffff:10.0.0.7', ['10.0.0.7']],
    ['::ffff:10.0.0.0/104', ['10.0.0.0/8']],
  ] as const) {
    it(`takes ${text}`, () => {
      expect(given(text)).to.deep.equal({ value, found: [] });
    });
  }

  for (const [text, says] of [
    ['localhost', /is not an address or a network/],
    ['10.0.0', /is not an address or a network/],
    ['10.0.0.256', /is not an address or a network/],
    ['010.0.0.1', /is not an address or a network/],
    ['0x0a000007', /is not an address or a network/],
    ['10.0.0.7:80', /is not an address or a network/],
    ['[::1]', /is not an address or a network/],
    ['10.0.0.0/33', /is not an address or a network/],
    ['::/129', /is not an address or a network/],
    ['10.0.0.0/', /is not an address or a network/],
    ['10.0.0.0/8/8', /is not an address or a network/],
    ['10.0.0.0/255.0.0.0', /is not an address or a network/],
    ['fe80::1%eth0', /is not an address or a network/],
    ['10.*', /is not an address or a network/],
    ['10.0.0.7/8', /write 10\.0\.0\.0\/8 for the network, or 10\.0\.0\.7 alone/],
    ['fd00::7/8', /write fd00::\/8 for the network, or fd00::7 alone/],
    ['10.0.0.7,10.0.0.8', /write list:10\.0\.0\.7 10\.0\.0\.8/],
    ['list:', /is empty; write an address/],
  ] as const) {
    it(`refuses ${text}`, () => {
      const { found } = given(text);
      expect(found).to.have.length(1);
      expect(found[0]).to.match(says);
    });
  }
});
