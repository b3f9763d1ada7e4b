import { expect } from 'chai';
import { sendRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const ID = 'Zm9vYmFyYmF6cXV4LTEyMzQ1Njc4OTAxMjM0NTY3ODk';
const pad = 'a/'.repeat(110);

/** Request targets with a secret in them, and what may not stand in the log. */
const targets: readonly (readonly [target: string, secret: string])[] = [
  ['http://ann:hunter2@example.org/nothing', 'hunter2'],
  ['http://ann:hunter2@example.org', 'hunter2'],
  ['http://ann:hunter2@example.org?x=1', 'hunter2'],
  ['HTTP://ann:hunter2@example.org/nothing?apikey=x', 'hunter2'],
  ['/nothing?apikey=hunter2', 'hunter2'],
  ['/nothing%3Fapikey=hunter2', 'hunter2'],
  ['/nothing%3fapikey=hunter2', 'hunter2'],
  ['/nothing%253Fapikey=hunter2', 'hunter2'],
  ['/nothing%23apikey=hunter2', 'hunter2'],
  ['/nothing;apikey=hunter2', 'hunter2'],
  ['/nothing/apikey=hunter2/x', 'hunter2'],
  ['/nothing%26api%6Bey=hunter2', 'hunter2'],
  ['/nothing;access_token=hunter2', 'hunter2'],
  ['/nothing;refresh-token=hunter2', 'hunter2'],
  ['/nothing/client_secret=hunter2', 'hunter2'],
  ['/nothing;X-Api-Key=hunter2', 'hunter2'],
  ['/nothing;APIKEY=hunter2', 'hunter2'],
  ['/nothing;passwd=hunter2', 'hunter2'],
  ['/nothing;pwd=hunter2/x', 'hunter2'],
  ['/nothing;a=1;Session%5FId=hunter2', 'hunter2'],
  ['/nothing;sig=hunter2&x=1', 'hunter2'],
  ['/nothing%3Baccess%5Ftoken%3Dhunter2', 'hunter2'],
  ['/nothing;apikey%253Dhunter2', 'hunter2'],
  ['http://ann:hunter2@[::1]:6123/nothing', 'hunter2'],
  ['http://hunter2@example.org/nothing', 'hunter2'],
  ['//ann:hunter2@example.org/nothing', 'hunter2'],
  ['/ann:hunter2@nothing', 'hunter2'],
  ['/%2f%2fann:hunter2@example.org', 'hunter2'],
  [`/nothing/x.${ID}.y`, ID.slice(0, 20)],
  [`/nothing/${ID}${ID}`, ID.slice(0, 20)],
  [`/nothing/${ID}`, ID.slice(0, 20)],
  [`/${pad}${ID}`, ID.slice(0, 20)],
  [`/${pad}abcdefg/${ID}/x`, ID.slice(0, 10)],
  [`/nothing/%5A${ID.slice(1)}`, ID.slice(1, 20)],
  [`/nothing/${ID.slice(0, 20)}%${ID.charCodeAt(20).toString(16)}${ID.slice(21)}`, ID.slice(0, 20)],
  [`/nothing/%ff/${ID.slice(0, 20)}%${ID.charCodeAt(20).toString(16)}${ID.slice(21)}`, ID.slice(0, 20)],
];

describe('the access log', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.close());

  for (const [target, secret] of targets) {
    it(`does not show the secret in ${target.slice(0, 60)}`, async () => {
      const from = server.logs.length;
      await sendRaw(
        server.host.address.port,
        `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
      const line = server.logs.slice(from).find(({ msg }) => msg === 'request');
      expect(line).to.have.property('path').that.is.a('string').with.length.within(1, 256);
      expect(server.logText()).not.to.include(secret);
    });
  }

  it('masks a path in a time that does not grow with the square of its length', async () => {
    for (const part of [
      'a',
      ':',
      'a:',
      '@:',
      ':@',
      'key',
      'key%25',
      '%25',
      '%253d',
      '=',
      'a=',
      '/:',
      '%c3',
      '-',
      'x;',
    ]) {
      const before = process.cpuUsage();
      const raw = await sendRaw(
        server.host.address.port,
        `GET /${part.repeat(14_000 / part.length)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      );
      expect(raw, part).to.match(/^HTTP\/1.1 40[04] /);
      // Microseconds of CPU time; the square of 14,000 takes several hundred thousand.
      const { user, system } = process.cpuUsage(before);
      expect(user + system, part).to.be.below(100_000);
    }
  });
});
