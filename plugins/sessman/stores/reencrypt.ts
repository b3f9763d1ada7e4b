import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sealed, Store } from '../store.js';
import { changeFenced } from './fenced.js';
import { Keyring, plain, type SealedField, sealedWith } from './keyring.js';
import { Rests } from './rests.js';

export interface ReencryptionOptions {
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly onError?: (error: unknown) => void;
  readonly now?: () => number;
}

/** How many records each key sealed when they were counted last. */
export interface KeyCounts {
  /** The fingerprint of the key with which who counted encrypts. */
  readonly first: string;
  /** By fingerprint; empty until the first count. */
  readonly counts: Readonly<Record<string, number>>;
}

/** What hosts tell each other: the fingerprints of those that live, each until a time. */
type Hosts = Readonly<Record<string, { readonly fingerprints: readonly string[]; readonly until: number }>>;

/**
 * Tells the other hosts which keys this one lists. While it has the lease, which one worker of all hosts has at a time,
 * it walks over all records, counts them by key, and seals those of other keys with the first one: never while another
 * live host does not list that key. Resolves when it has stopped.
 */
export async function runReencryption(
  store: Store,
  keys: Keyring | undefined,
  { signal, onError, now = () => store.clock.now() }: ReencryptionOptions,
): Promise<void> {
  const owner = randomUUID();
  // A host without keys reads records in the clear, once others have raised the store.
  const ring = keys ?? new Keyring([plain]);
  let nextPass = 0;
  let told = 0;
  let fence = 0;
  /** By the steady clock. */
  let heldUntil = 0;
  let isHealthy = true;
  const rests = new Rests();
  while (!signal.aborted) {
    try {
      if (keys || (await store.isRaised())) {
        await tell();
        if (keys && now() >= nextPass && (await lease())) await pass();
      }
      isHealthy = true;
    } catch (error) {
      if (isHealthy) onError?.(error);
      isHealthy = false;
    }
    await sleep(tick, undefined, { signal, ref: false }).catch(() => {});
  }
  await forget().catch(() => {});

  async function tell(): Promise<void> {
    const at = now();
    if (at - told < toldFor / 3) return;
    const mine = { fingerprints: ring.fingerprints, until: at + toldFor };
    await store.changeFact<Hosts>('hosts', (hosts = {}) => ({ ...living(hosts, at), [owner]: mine }));
    // A count from before a host encrypts with another key is no longer valid.
    if (told === 0 && keys) {
      await store.changeFact<KeyCounts>('records-by-key', (before) =>
        before?.first === ring.first ? before : { ...before, first: ring.first, counts: {} },
      );
    }
    told = at;
  }

  /** Lets the others go on at once. */
  async function forget(): Promise<void> {
    if (told === 0) return;
    if (keys) await store.lease('reencryption', owner, now(), now());
    await store.changeFact<Hosts>('hosts', ({ [owner]: _, ...others } = {}) => others);
  }

  async function lease(): Promise<boolean> {
    const asked = performance.now();
    const held = await store.lease('reencryption', owner, now(), now() + leaseTime);
    if (held === undefined) return false;
    fence = held;
    heldUntil = asked + leaseTime;
    return true;
  }

  async function isStillHeld(): Promise<boolean> {
    return heldUntil - performance.now() > leaseTime / 2 || lease();
  }

  async function pass(): Promise<void> {
    const began = performance.now();
    const counts: Record<string, number> = Object.fromEntries(ring.fingerprints.map((each) => [each, 0]));
    const writers = await firstKeys();
    const isRaised = await store.isRaised();
    for (let after: string | undefined; ; ) {
      const stepBegan = performance.now();
      const page = await store.sealed(stepSize, after);
      const others = page.filter((sealed) => keysOf(sealed).some((key) => key !== ring.first));
      if (others.length > 0 && !isRaised) {
        await store.raise();
        // A host without keys tells of itself once the store is raised.
        nextPass = now() + shortestPause;
        return;
      }
      const replaced = (await isListedByAll()) ? others : [];
      // Of a process that was frozen, these writes at most are still under way: `replaceSealed` undoes no later one.
      if (performance.now() >= heldUntil) return;
      await Promise.all(replaced.map(replace));
      // What somebody changed meanwhile was not replaced, and yet has another key than it had.
      const seen = replaced.length > 0 ? await readAgain(page, after) : page;
      for (const sealed of seen) for (const key of keysOf(sealed)) counts[key] = (counts[key] ?? 0) + 1;
      if (page.length < stepSize) break;
      after = page.at(-1)!.handle;
      await tell();
      if (signal.aborted || !(await isStillHeld())) return;
      const took = performance.now() - stepBegan;
      // Nothing waits for a count, so that it takes a twentieth of the time at most.
      if (replaced.length > 0) await rests.after(took, signal);
      else await sleep(20 * took, undefined, { signal, ref: false }).catch(() => {});
    }
    // A key with which a host has encrypted meanwhile is in use, whatever was counted.
    for (const key of [...writers, ...(await firstKeys())]) counts[key] = Math.max(counts[key] ?? 0, 1);
    await changeFenced<KeyCounts>(store, 'records-by-key', fence, () => ({ first: ring.first, counts }));
    nextPass = now() + Math.max(shortestPause, performance.now() - began);
  }

  /** The keys with which other hosts encrypt, where it is not this one's. */
  async function firstKeys(): Promise<string[]> {
    const hosts = living((await store.fact<Hosts>('hosts')) ?? {}, now());
    return Object.values(hosts)
      .map(({ fingerprints }) => fingerprints[0]!)
      .filter((key) => key !== ring.first);
  }

  async function isListedByAll(): Promise<boolean> {
    const hosts = living((await store.fact<Hosts>('hosts')) ?? {}, now());
    return Object.values(hosts).every(({ fingerprints }) => fingerprints.includes(ring.first));
  }

  async function readAgain(page: readonly Sealed[], after: string | undefined): Promise<Sealed[]> {
    const handles = new Set(page.map(({ handle }) => handle));
    // Others may have come between them.
    return (await store.sealed(2 * stepSize, after)).filter(({ handle }) => handles.has(handle));
  }

  /** Seals a record with the first key, unless no key opens it, or somebody changed it: then it has that host's first key. */
  async function replace(sealed: Sealed): Promise<void> {
    const { handle } = sealed;
    // Fields with the first key are left alone: a session that is written all the time would never be as it was.
    const before: Partial<Record<keyof Sealed, string>> = {};
    const next: Partial<Record<keyof Sealed, string>> = {};
    for (const [name, field] of fields) {
      const stored = sealed[name];
      if (stored === undefined || sealedWith(stored) === ring.first) continue;
      before[name] = stored;
      const text = ring.open(field, handle, stored);
      if (text === undefined) return;
      next[name] = ring.seal(field, handle, text);
    }
    await store.replaceSealed({ ...before, handle }, { ...next, handle });
  }
}

/** The keys with which the fields of a record are sealed. */
export function keysOf(sealed: Sealed): string[] {
  const used = new Set<string>();
  for (const [name] of fields) if (sealed[name] !== undefined) used.add(sealedWith(sealed[name]));
  return [...used];
}

/** Whether of the first records there are, all of them, none can be read: the keys are others than before. */
export async function noneCanBeRead(store: Store, keys: Keyring): Promise<boolean> {
  const first = await store.sealed(100);
  return first.length > 0 && first.every(({ handle, data }) => keys.open('data', handle, data) === undefined);
}

function living(hosts: Hosts, now: number): Hosts {
  return Object.fromEntries(Object.entries(hosts).filter(([, { until }]) => until > now));
}

const fields: readonly (readonly [Exclude<keyof Sealed, 'handle'>, SealedField])[] = [
  ['data', 'data'],
  ['about', 'about'],
  ['ip', 'ip'],
  ['userAgent', 'user_agent'],
];

/** Milliseconds. */
const tick = 1000;
const toldFor = 15_000;
const leaseTime = 15_000;
const shortestPause = 3000;
/** Records of one step: on the embedded store, they are replaced in one commit. */
const stepSize = 100;
