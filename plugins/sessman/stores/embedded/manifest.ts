import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ScrubPlace } from '../../store.js';
import { keysOf } from '../reencrypt.js';
import { added, none, type ScrubCounts } from '../scrubber.js';
import { storeFile } from './folder.js';
import type { EmbeddedStore } from './index.js';

/** What a backup says of itself, in a file beside the store's. */
export interface Manifest {
  /** RFC 3339: the copy is as the store was then, or a little later. */
  readonly made: string;
  /** Of the store: 1, or 2 where version 0.1.0 cannot use it. */
  readonly format: number;
  readonly records: number;
  /** How many records each key has encrypted, by its fingerprint, or `plain`. */
  readonly keys: Readonly<Record<string, number>>;
  /** SHA-256 of the store's file, in hexadecimal. */
  readonly sha256: string;
}

const manifestFile = 'backup.json';

export function writeManifest(folder: string, manifest: Manifest): void {
  const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
  writeFileSync(join(folder, manifestFile), text, { mode: 0o600, flush: true });
}

/** Undefined where there is none: version 0.1.0 wrote none. */
export function readManifest(folder: string): Manifest | undefined {
  const file = join(folder, manifestFile);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Manifest) : undefined;
}

/** SHA-256 of the store's file in that folder. */
export async function sumOfFile(folder: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(folder, storeFile)), hash);
  return hash.digest('hex');
}

/** Reads all of a copy that nobody else uses, and puts its indexes right. */
export async function checkCopy(copy: EmbeddedStore): Promise<ScrubCounts> {
  const sound = copy.lookInOrder();
  return sound ? { ...none, ...sound } : scrubAll(copy);
}

/** Reads all of a store, without a pause. */
export async function scrubAll(store: EmbeddedStore, onDamaged: (handle: string) => void = () => {}) {
  let counts: ScrubCounts = none;
  for (let place: ScrubPlace | undefined, begun = false; !begun || place; begun = true) {
    const step = await store.file.scrub(place, stepTime);
    counts = added(counts, step);
    step.damaged.forEach(onDamaged);
    place = step.next;
  }
  return counts;
}

export async function countKeys(store: EmbeddedStore): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let after: string | undefined; ; ) {
    const page = await store.sealed(pageSize, after);
    for (const sealed of page) for (const key of keysOf(sealed)) counts[key] = (counts[key] ?? 0) + 1;
    if (page.length < pageSize) return counts;
    after = page.at(-1)!.handle;
  }
}

/** Milliseconds. */
const stepTime = 50;
/** Records. */
const pageSize = 1000;
