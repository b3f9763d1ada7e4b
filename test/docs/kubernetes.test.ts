import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { runCommand } from '../support/process.js';
import { writeFiles } from '../support/server.js';

const folder = fileURLToPath(new URL('../../../docs/kubernetes/', import.meta.url));

interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: { readonly spec: { readonly terminationGracePeriodSeconds: number } };
  };
}

async function read(name: string): Promise<Readonly<Record<string, Manifest>>> {
  const text = await readFile(join(folder, name), 'utf8');
  return Object.fromEntries(
    parseAllDocuments(text).map((document) => {
      expect(document.errors).to.deep.equal([]);
      const manifest: Manifest = document.toJS();
      return [manifest.kind, manifest];
    }),
  );
}

describe('the Kubernetes manifests of the documentation', () => {
  for (const [name, kind] of [
    ['embedded.yaml', 'StatefulSet'],
    ['mongodb.yaml', 'Deployment'],
  ] as const) {
    it(`${name}: have a configuration that check accepts, and time to stop`, async () => {
      const manifests = await read(name);
      const files = manifests.ConfigMap?.data ?? {};
      const place = await mkdtemp(join(tmpdir(), 'plugin-server-test-'));
      try {
        const here = (text: string) =>
          text
            .replaceAll('/run/secrets/plugin-server', join(place, 'secret'))
            .replaceAll(/=\/(srv|var|tmp)/g, `=${place}/$1`);
        const secrets = Object.entries(manifests.Secret?.stringData ?? {});
        await writeFiles(place, {
          'srv/plugins/.keep': '',
          ...Object.fromEntries(Object.entries(files).map(([file, text]) => [file, here(text)])),
          ...Object.fromEntries(secrets.map(([file, text]) => [`secret/${file}`, text])),
        });
        const { status, stdout, stderr } = await runCommand(place, 'check');
        expect(stderr).to.equal('');
        expect(stdout).to.match(/^configuration ok: \d+ plugins/);
        expect(status).to.equal(0);
      } finally {
        await rm(place, { recursive: true, force: true });
      }
      const seconds = (key: string) => Number(files['plugin-server.ini']?.match(`${key}=int:(\\d+)`)?.[1]);
      const grace = manifests[kind]?.spec?.template?.spec.terminationGracePeriodSeconds;
      expect(grace).to.be.at.least(seconds('stop_grace') + seconds('stop_timeout') + 5);
    });
  }
});
