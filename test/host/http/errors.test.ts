import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { hostErrors } from '../../../host/http/errors.js';

describe("the table of the host's errors", () => {
  const entries = Object.entries(hostErrors);

  it('gives each code a status that is an error, and sentences for the client and for the docs', () => {
    for (const [code, { status, message, when, remedy }] of entries) {
      expect(code).to.match(/^[a-z][a-z0-9_]*$/);
      expect(status, code).to.be.within(400, 599);
      for (const sentence of [when, remedy]) expect(sentence, code).to.match(/^[A-Z].*\.$/);
      if (typeof message === 'string') expect(message, code).to.match(/^[A-Z].*\.$/);
    }
  });

  it('is where every error of the host comes from', () => {
    const folder = new URL('../../../../host/', import.meta.url);
    const makers = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .filter((file) => /new HttpError\(|\.throw\(\d/.test(readFileSync(new URL(file, folder), 'utf8')));
    expect(makers).to.deep.equal(['kit/error-table.ts']);
  });
});
