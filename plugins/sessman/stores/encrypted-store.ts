import { StoreDamagedError } from '../errors.js';
import type { Awaitable, Change, Match, SessionExtras, SessionRecord, Store } from '../store.js';
import { type Keyring, plain, type SealedField } from './keyring.js';

type Writable<Fields> = { -readonly [Name in keyof Fields]: Fields[Name] };

/**
 * Encrypts on the way to a store and decrypts on the way back: data, about, ip and user_agent. The store keeps text, and
 * never sees a key. What no key opens can be replaced or ended, not read: on a host without keys, that is what other hosts
 * have encrypted.
 */
export function encryptStore(store: Store, keys: Keyring): Store {
  /** Nothing is written before the store keeps off versions that would take sealed text for data. */
  let isRaised = !keys.encrypts;
  const isPlain = keys.first === plain;
  let raising: Promise<void> | undefined;
  const raise = (): Promise<void> => {
    raising ??= store.raise().then(
      () => {
        isRaised = true;
      },
      (error: unknown) => {
        raising = undefined;
        throw error;
      },
    );
    return raising;
  };

  const openAll = <Extras extends SessionExtras>(handle: string, found: Extras): Extras => {
    const { about, ip, userAgent } = found;
    if ((about ?? ip ?? userAgent) === undefined) return found;
    const opened: Writable<Extras & SessionExtras> = { ...found };
    const open = (field: SealedField, text: string) => keys.open(field, handle, text);
    if (about) opened.about = open('about', about) ?? 'null';
    if (ip) opened.ip = open('ip', ip) ?? null;
    if (userAgent) opened.userAgent = open('user_agent', userAgent) ?? null;
    return opened;
  };
  // By assignment: an object literal of what is there and what is not takes a tenth of the time of a write.
  const sealAll = <Fields extends Partial<SessionRecord>>(handle: string, fields: Fields): Fields => {
    if (isPlain) return fields;
    const sealed: Writable<Fields & Partial<SessionRecord>> = { ...fields };
    const { data, about, ip, userAgent } = fields;
    if (data !== undefined) sealed.data = keys.seal('data', handle, data);
    if (about !== undefined) sealed.about = keys.seal('about', handle, about);
    if (ip) sealed.ip = keys.seal('ip', handle, ip);
    if (userAgent) sealed.userAgent = keys.seal('user_agent', handle, userAgent);
    return sealed;
  };
  let turn: Promise<void> | undefined;
  const endOfTurn = (): Promise<void> => {
    turn ??= new Promise((resolve) => {
      setImmediate(() => {
        turn = undefined;
        resolve();
      });
    });
    return turn;
  };
  // All that are written in one turn of the event loop are sealed one right after the other: the processor has the code
  // for it in its caches then, and takes a quarter less time.
  const sealSoon = <Fields extends Partial<SessionRecord>>(
    handle: string,
    fields: Fields,
  ): Awaitable<Fields> => {
    const { data, about, ip, userAgent } = fields;
    if (isPlain || (data ?? about ?? ip ?? userAgent ?? undefined) === undefined) return fields;
    return endOfTurn().then(() => sealAll(handle, fields));
  };
  const openData = (handle: string, data: string): string => {
    const text = keys.open('data', handle, data);
    if (text === undefined) throw new StoreDamagedError();
    return text;
  };
  const openRecord = (record: SessionRecord | undefined) => {
    if (record === undefined) return undefined;
    const data = openData(record.handle, record.data);
    const opened = openAll(record.handle, record);
    return data === record.data ? opened : { ...opened, data };
  };

  return {
    system: store.system,
    clock: store.clock,
    isRemote: store.isRemote,
    get needsSweeping() {
      return store.needsSweeping;
    },
    async insert(record) {
      if (!isRaised) await raise();
      return store.insert(await sealSoon(record.handle, record));
    },
    read(handle, now) {
      const found = store.read(handle, now);
      return found instanceof Promise ? found.then(openRecord) : openRecord(found);
    },
    peek(handle, now) {
      const found = store.peek(handle, now);
      if (found instanceof Promise) return found.then((head) => head && openAll(handle, head));
      return found && openAll(handle, found);
    },
    async write(match: Match, change: Change) {
      if (!isRaised) await raise();
      const written = await store.write(match, await sealSoon(match.handle, change));
      if (!written) return undefined;
      const { handle } = written;
      // Whoever only touches a session need not be able to read it.
      const data = change.data ?? keys.open('data', handle, written.data) ?? 'null';
      const opened = openAll(handle, written);
      return data === written.data ? opened : { ...opened, data };
    },
    async rewrite(match, change, rewrite) {
      if (!isRaised) await raise();
      let data = '';
      const written = await store.rewrite(match, sealAll(match.handle, change), (sealed) => {
        data = rewrite(openData(match.handle, sealed));
        return keys.seal('data', match.handle, data);
      });
      return written && { ...openAll(written.handle, written), data };
    },
    remove: (match, reason) => store.remove(match, reason),
    removeEach: (matches, reason) => store.removeEach(matches, reason),
    list: async (userid, now, limit) =>
      (await store.list(userid, now, limit)).map((found) => openAll(found.handle, found)),
    walk: async (now, page) => (await store.walk(now, page)).map((found) => openAll(found.handle, found)),
    removeOfUser: (userid, now, except) => store.removeOfUser(userid, now, except),
    endEveryone: () => store.endEveryone(),
    epoch: () => store.epoch(),
    everyoneAt: () => store.everyoneAt(),
    ...(store.changes && { changes: store.changes.bind(store) }),
    notes: (since) => store.notes(since),
    noteOf: (handle, now) => store.noteOf(handle, now),
    // For watchers, who are shown none of what is sealed.
    peekEach: (handles, now) => store.peekEach(handles, now),
    countLive: (now) => store.countLive(now),
    sweep: (now, limit) => store.sweep(now, limit),
    isSweepDue: (now) => store.isSweepDue(now),
    lease: (duty, owner, now, until) => store.lease(duty, owner, now, until),
    raise,
    isRaised: () => store.isRaised(),
    sealed: (limit, after) => store.sealed(limit, after),
    async replaceSealed(before, after) {
      if (!isRaised) await raise();
      return store.replaceSealed(before, after);
    },
    fact: (name) => store.fact(name),
    changeFact: (name, change) => store.changeFact(name, change),
    check: () => store.check(),
    file: store.file,
    count: () => store.count(),
    close: () => store.close(),
  };
}
