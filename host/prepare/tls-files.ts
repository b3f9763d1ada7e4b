import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type Configuration, childAt } from '../../config/index.js';
import type { Settings } from './settings.js';

/** The TLS files, checked as far as they can be before a client comes. */
export function readTls(
  configuration: Configuration,
  { keyFile, certFile }: NonNullable<Settings['tls']>,
): { key: string; cert: string } | undefined {
  const section = configuration.section('ssl')!;
  const read = (file: string, key: string) => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const why =
        code === 'ENOENT'
          ? 'does not exist'
          : code === 'EACCES'
            ? 'cannot be read: permission denied'
            : `cannot be read (${code})`;
      configuration.report(
        childAt(section, key) ?? section,
        `the ${key} ${why}`,
        'write the path of a PEM file',
      );
      return undefined;
    }
  };
  const [key, cert] = [read(keyFile, 'keyfile'), read(certFile, 'certfile')];
  if (key === undefined || cert === undefined) return undefined;
  const atKey = childAt(section, 'keyfile') ?? section;
  const atCert = childAt(section, 'certfile') ?? section;
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    configuration.report(
      atCert,
      'the certfile does not contain a PEM certificate',
      'use a file that begins with -----BEGIN CERTIFICATE-----',
    );
    return undefined;
  }
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey(key);
  } catch {
    configuration.report(
      atKey,
      'the keyfile does not contain a PEM private key without a passphrase',
      'use a file that begins with -----BEGIN PRIVATE KEY-----',
    );
    return undefined;
  }
  const isPair = certificate.checkPrivateKey(privateKey);
  if (!isPair) {
    configuration.report(
      atKey,
      'the keyfile does not belong to the certfile',
      'use the key that the certificate was issued for',
    );
  }
  // What stands behind the first certificate in the file, and what OpenSSL thinks of the key, shows only here.
  const refusal = isPair ? refusalOf(key, cert) : undefined;
  if (refusal !== undefined) {
    configuration.report(
      atCert,
      `the certfile cannot be used (${refusal})`,
      'write the whole certificate and its chain into it',
    );
  }
  if (Date.parse(certificate.validTo) < Date.now()) {
    configuration.report(atCert, `the certificate expired on ${certificate.validTo}`, 'renew it');
  }
  return { key, cert };
}

/** Why a TLS server cannot have these, as OpenSSL says it. */
function refusalOf(key: string, cert: string): string | undefined {
  try {
    createSecureContext({ key, cert });
    return undefined;
  } catch (error) {
    return (error as { reason?: string }).reason ?? (error as Error).message;
  }
}
