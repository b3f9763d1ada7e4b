import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeFolder } from './server.js';

const run = promisify(execFile);

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** A self-signed certificate for localhost, made by openssl; of negative `days`, one that has expired. */
export async function makeCertificate(days = 1): Promise<Certificate> {
  const folder = await makeFolder();
  const [key, cert, request] = ['key.pem', 'cert.pem', 'request.pem'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  try {
    await run('openssl', [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-subj',
      '/CN=localhost',
      '-keyout',
      key,
      '-out',
      request,
    ]);
    await run('openssl', [
      'x509',
      '-req',
      '-in',
      request,
      '-signkey',
      key,
      '-days',
      String(days),
      '-out',
      cert,
    ]);
    return { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
