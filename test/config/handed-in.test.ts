import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { maskedValue, readConfiguration } from '../../config/index.js';
import { printed, read, sentences } from './memory.js';

describe('a value that a file hands in', () => {
  const files = { 'run/secret': 'a#b;c&d=${e}$$\n', two: 'x\r\ny\r\n', port: '6123\n' };

  it('is its text without the last line end, taken as it is', () => {
    const configuration = read({
      ...files,
      'plugin-server.ini':
        '[main]\na=${FILE:run/secret}\nb=<${file: two }>\nd=int:${FILE:port}\ne=$${FILE:port}\n[plugin_parms]\np=x=${FILE:run/secret}&y=1',
    });
    expect(sentences(configuration)).to.deep.equal([]);
    expect(configuration.section('main')?.value).to.deep.equal({
      a: 'a#b;c&d=${e}$$',
      b: '<x\r\ny>',
      d: 6123,
      e: '${FILE:port}',
    });
    expect(configuration.section('plugin_parms')?.value).to.deep.equal({
      p: { x: 'a#b;c&d=${e}$$', y: '1' },
    });
    expect([...configuration.texts.keys()]).to.include('/etc/plugin-server/run/secret');
  });

  it('keeps the blanks and empty lines at its end, but for the last line end', () => {
    const configuration = read({
      a: ' x \t\n',
      b: 'x\n\n',
      c: 'x ',
      'plugin-server.ini': '[main]\na=${FILE:a}\nb=${FILE:b}\nc=${FILE:c}',
    });
    expect(configuration.section('main')?.value).to.deep.equal({ a: ' x \t', b: 'x\n', c: 'x ' });
  });

  it('is never shown', () => {
    const configuration = read({
      ...files,
      'plugin-server.ini': '[main]\na=${FILE:port}\nb=int:${FILE:two}',
    });
    expect(maskedValue(configuration.section('main')!)).to.include({ a: '***' });
    expect(printed(configuration).join()).not.to.contain('x\r\ny');
  });

  it('is a problem where the file is not there, or names nothing', () => {
    const ini = '[main]\npassword=${FILE:/run/secrets/db}\nb=${FILE:}';
    expect(sentences(read(ini))).to.deep.equal([
      'plugin-server.ini:2:10: the file "/run/secrets/db" does not exist; create it, or correct the path',
      'plugin-server.ini:3:3: the reference is empty; write ${section:key}, ${key}, ${ENV:NAME} or ${FILE:PATH}, or $$ for a plain $',
    ]);
  });

  it('is a problem where the file is empty, blank or larger than a secret', () => {
    const configuration = read({
      empty: '',
      blank: ' \r\n\n',
      mark: '\uFEFF\n',
      large: 'x'.repeat(65_537),
      wide: 'é'.repeat(32_769),
      most: 'x'.repeat(65_536),
      'plugin-server.ini':
        '[auth]\napikey=${FILE:empty}\n[main]\nb=${FILE:blank}\nc=${FILE:large}\nd=${FILE:wide}\ne=${FILE:most}\nf=${FILE:mark}\nj=json=j.json',
      'j.json': '{\n "a": "${FILE:empty}",\n "b": "x${FILE:large}"\n}',
    });
    const [empty, large] = [
      'is empty; write the value into it',
      'has more than 64 KiB; write the path of a file that contains only the value',
    ];
    expect(sentences(configuration)).to.deep.equal([
      `plugin-server.ini:2:8: the file "empty" ${empty}`,
      `plugin-server.ini:4:3: the file "blank" ${empty}`,
      `plugin-server.ini:5:3: the file "large" ${large}`,
      `plugin-server.ini:6:3: the file "wide" ${large}`,
      `plugin-server.ini:8:3: the file "mark" ${empty}`,
      `j.json:2:7: the file "empty" ${empty}`,
      `j.json:3:7: the file "large" ${large}`,
    ]);
  });

  it('is read no further than a secret may go', () => {
    const folder = mkdtempSync(join(tmpdir(), 'plugin-server-test-'));
    const file = join(folder, 'plugin-server.ini');
    writeFileSync(file, '[auth]\napikey=${FILE:/dev/zero}\n');
    expect(sentences(readConfiguration(file))).to.deep.equal([
      'plugin-server.ini:2:8: the file "/dev/zero" has more than 64 KiB; write the path of a file that contains only the value',
    ]);
    rmSync(folder, { recursive: true });
  });

  it('may stand in the strings of JSON, as data, as may a variable', () => {
    const json = {
      a: '${ENV:A}',
      b: ['x${FILE:run/secret}y'],
      c: '$${ENV:A} $ $$ ${main:a} ${A}',
      d: '${ENV:NONE:-other}',
      '${ENV:A}': '${env:A}${ENV:A}',
    };
    const configuration = read(
      { ...files, 'plugin-server.ini': '[main]\nj=json=j.json', 'j.json': JSON.stringify(json) },
      { env: { A: '"${ENV:A}"' } },
    );
    expect(sentences(configuration)).to.deep.equal([]);
    expect(configuration.locate(['main', 'j'])?.value).to.deep.equal({
      a: '"${ENV:A}"',
      b: ['xa#b;c&d=${e}$$y'],
      c: '${ENV:A} $ $$ ${main:a} ${A}',
      d: 'other',
      '${ENV:A}': '"${ENV:A}""${ENV:A}"',
    });
    const shown = maskedValue(configuration.locate(['main', 'j'])!);
    expect(shown).to.deep.include({ b: ['***'] });
  });

  it('is a problem at the string of JSON where it is not there', () => {
    const configuration = read({
      'plugin-server.ini': '[main]\nj=json=j.json',
      'j.json': '{\n "a": "${ENV:NOPE}",\n "b": "${FILE:nope}"\n}',
    });
    expect(sentences(configuration)).to.deep.equal([
      'j.json:2:7: the environment variable "NOPE" is not set; set it, or write ${ENV:NOPE:-default}',
      'j.json:3:7: the file "nope" does not exist; create it, or correct the path',
    ]);
  });

  it('is no variable that every object has', () => {
    for (const name of ['constructor', 'toString', 'valueOf', '__proto__']) {
      const configuration = read({
        'plugin-server.ini': '[main]\nj=json=j.json',
        'j.json': `["\${ENV:${name}}", "\${ENV:${name}:-unset}"]`,
      });
      expect(configuration.locate(['main', 'j'])?.value, name).to.deep.equal([undefined, 'unset']);
      expect(sentences(configuration), name).to.have.length(1);
    }
  });

  it('is never another number', () => {
    for (const number of [
      '9007199254740993',
      '1234567890123456789',
      '1e400',
      '-1e400',
      '1e-400',
      '9007199254740993.0',
    ]) {
      const configuration = read({
        'plugin-server.ini': '[main]\nj=json=j.json',
        'j.json': `{ // a comment\n "a": [0.1, ${number}],}`,
      });
      expect(sentences(configuration), number).to.deep.equal([
        'j.json:2:13: this number cannot be represented exactly; write it as text in double quotes, or use a number that a double holds',
      ]);
    }
  });
});
