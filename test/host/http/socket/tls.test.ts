import { request } from 'node:https';
import { expect } from 'chai';
import { ConfigError } from '../../../../config/index.js';
import { prepare } from '../../../../host/prepare/index.js';
import { type Certificate, makeCertificate } from '../../../support/certificates.js';
import { makeFolder, startServer, writeFiles } from '../../../support/server.js';

const ini = '[ssl]\nenabled=bool:on\nkeyfile=key.pem\ncertfile=certs/cert.pem\n';

describe('TLS', () => {
  let good: Certificate;
  let other: Certificate;
  before(async () => {
    [good, other] = await Promise.all([makeCertificate(), makeCertificate()]);
  });

  it('serves HTTPS with the files of [ssl], and says so in its headers', async () => {
    const server = await startServer({ ini, files: { 'key.pem': good.key, 'certs/cert.pem': good.cert } });
    try {
      expect(server.url).to.match(/^https:/);
      const response = await new Promise<{ status: number; headers: object }>((resolve, reject) => {
        request(`${server.url}/livez`, { rejectUnauthorized: false, agent: false }, (answer) => {
          answer.resume().on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers }));
        })
          .on('error', reject)
          .end();
      });
      expect(response.status).to.equal(200);
      expect(response.headers).to.include({ 'strict-transport-security': 'max-age=31536000' });
    } finally {
      await server.close();
    }
  });

  async function problemsOf(text: string, files: Record<string, string>): Promise<string[]> {
    const folder = await makeFolder();
    await writeFiles(folder, { ...files, 'plugin-server.ini': text });
    try {
      await prepare({ iniFile: `${folder}/plugin-server.ini` });
      return [];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.problems.map(({ position, message }) => `${position.line}:${position.column} ${message}`);
    }
  }

  it('is refused with the place when a file is missing', async () => {
    expect(await problemsOf(ini, { 'key.pem': good.key })).to.deep.equal([
      '4:10 the certfile does not exist',
    ]);
    expect(await problemsOf(ini, {})).to.deep.equal([
      '3:9 the keyfile does not exist',
      '4:10 the certfile does not exist',
    ]);
  });

  it('is refused when a file holds something else', async () => {
    expect(await problemsOf(ini, { 'key.pem': 'nonsense', 'certs/cert.pem': good.cert })).to.deep.equal([
      '3:9 the keyfile does not contain a PEM private key without a passphrase',
    ]);
    expect(await problemsOf(ini, { 'key.pem': good.key, 'certs/cert.pem': 'nonsense' })).to.deep.equal([
      '4:10 the certfile does not contain a PEM certificate',
    ]);
  });

  it('is refused when the chain behind the certificate is half written', async () => {
    const half = good.cert + other.cert.slice(0, 200);
    const [problem] = await problemsOf(ini, { 'key.pem': good.key, 'certs/cert.pem': half });
    expect(problem).to.match(/^4:10 the certfile cannot be used \(.+\)$/);
  });

  it('is refused when the files are not a pair', async () => {
    expect(await problemsOf(ini, { 'key.pem': other.key, 'certs/cert.pem': good.cert })).to.deep.equal([
      '3:9 the keyfile does not belong to the certfile',
    ]);
  });

  it('is refused when the certificate has expired', async () => {
    const expired = await makeCertificate(-1);
    const [problem] = await problemsOf(ini, { 'key.pem': expired.key, 'certs/cert.pem': expired.cert });
    expect(problem).to.match(/^4:10 the certificate expired on /);
  });

  it('is refused when it is enabled and a file is not named', async () => {
    expect(await problemsOf('[ssl]\nenabled=on\n', {})).to.deep.equal([
      '1:2 [ssl] is enabled but has no keyfile',
      '1:2 [ssl] is enabled but has no certfile',
    ]);
  });

  it('is not looked at when it is not enabled', async () => {
    expect(await problemsOf('[ssl]\nenabled=off\nkeyfile=nowhere.pem\n', {})).to.deep.equal([]);
  });
});
