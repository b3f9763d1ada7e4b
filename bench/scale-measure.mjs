// Measures the constants of scale.mjs: what each call of sessman sends to MongoDB, and what a session takes in a store.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startPlugin } from '../dist/host/testing.js';
import { storeFile } from '../dist/plugins/sessman/stores/embedded/folder.js';
import { EmbeddedStore } from '../dist/plugins/sessman/stores/embedded/index.js';

// The driver that the server uses, whose commands are monitored; this folder has one of its own.
const { BSON, MongoClient } = createRequire(new URL('../package.json', import.meta.url))('mongodb');
const { calculateObjectSize } = BSON;

const sessman = fileURLToPath(new URL('../dist/plugins/sessman', import.meta.url));
const userid = 'user-1@example.org';
const data = { theme: 'dark', cart: [{ sku: 'A-1001', count: 2 }], roles: ['editor'] };
const times = 10;
const atOnce = 1000;

/**
 * What each call sends, by command monitoring of the driver. With a real mongod also what a session takes on its disk and
 * how many writes it acknowledges: the stand-in of the tests has another engine.
 */
export async function measureMongo(given, sessions = 20_000) {
  const own = given ? undefined : await (await import('../dist/test/support/mongodb.js')).startMongo();
  try {
    return await measureAt(given ?? own.url(), sessions);
  } finally {
    await own?.stop();
  }
}

async function measureAt(url, sessions) {
  const commands = [];
  monitor(commands);
  const collection = `scale_${randomBytes(4).toString('hex')}`;
  const client = await new MongoClient(url).connect();
  const sessionsIn = client.db().collection(collection);
  const server = await startPlugin(sessman, {
    parameters: { server_url: url, collection },
    ini: '[log]\nfile=server.log',
  });
  try {
    const calls = await measureCalls(server, sessionsIn, commands);
    const [live] = await sessionsIn.find({ ended: { $exists: false } }).toArray();
    const [note] = await sessionsIn.find({ ended: { $exists: true } }).toArray();
    const bytes = {
      document: calculateObjectSize(live) - Buffer.byteLength(live.data) - Buffer.byteLength(live.userid),
      note: calculateObjectSize(note) - Buffer.byteLength(note.userid),
      key: (await keysOf([live], await sessionsIn.indexes()))
        .map(({ size }) => size)
        .reduce((sum, size) => sum + size, -Buffer.byteLength(live.userid)),
    };
    const entries = (await keysOf([live], await sessionsIn.indexes())).length;
    const { version } = await client.db().command({ buildInfo: 1 });
    const { wiredTiger } = await client.db().command({ collStats: collection });
    const real = wiredTiger?.creationString ? await measureDisk(server, sessionsIn, sessions) : undefined;
    return { server: real ? `mongod ${version}` : 'the stand-in of the tests', calls, bytes, entries, real };
  } finally {
    await server.close();
    for (const name of ['', '_leases']) await client.db().dropCollection(`${collection}${name}`);
    await client.close();
  }
}

/** Every client made from now on tells its commands with their replies. */
function monitor(commands) {
  const { connect } = MongoClient.prototype;
  MongoClient.prototype.connect = function () {
    this.monitorCommands = true;
    const started = new Map();
    this.on('commandStarted', (event) => started.set(event.requestId, event));
    this.on('commandSucceeded', ({ requestId, reply }) => {
      const { commandName, command } = started.get(requestId);
      commands.push({ commandName, command, reply });
    });
    return connect.call(this);
  };
}

async function measureCalls(server, sessionsIn, commands) {
  const call = async (name, { id, ...parameters }) => {
    const response = await fetch(`${server.url}/sessman/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(id && { 'X-Session-Id': id }) },
      body: JSON.stringify(parameters),
    });
    if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? undefined : response.json();
  };
  const made = async () => ({ id: (await call('new', { userid, data })).session_id });
  const kinds = {
    new: async () => ({ userid, data }),
    get: made,
    update: async () => ({ ...(await made()), data }),
    patch: async () => ({ ...(await made()), data: { theme: 'light' } }),
    touch: made,
    renew: made,
    end: made,
    list: async () => ({ userid }),
    end_all: async () => {
      await made();
      return { userid };
    },
  };
  const calls = {};
  await call('end_all', { userid });
  for (const [name, prepare] of Object.entries(kinds)) {
    const seen = [];
    for (let n = 0; n < times; n++) {
      // Lists and ends of a user are those of one session.
      if (name === 'list') await call('end_all', { userid });
      if (name === 'list') await made();
      const parameters = await prepare();
      const before = await keysIn(sessionsIn);
      commands.length = 0;
      await call(name, parameters);
      const sent = commands.filter(
        ({ command, commandName }) => command[commandName] === sessionsIn.collectionName,
      );
      const after = await keysIn(sessionsIn);
      const sizes = (documents) => documents.reduce((sum, each) => sum + calculateObjectSize(each), 0);
      const changed = [...after].filter((key) => !before.has(key)).length;
      seen.push({
        trips: sent.length,
        sent: sizes(sent.map(({ command }) => command)),
        received: sizes(sent.map(({ reply }) => reply)),
        entries: changed + [...before].filter((key) => !after.has(key)).length,
      });
    }
    calls[name] = Object.fromEntries(
      ['trips', 'sent', 'received', 'entries'].map((key) => [key, median(seen.map((each) => each[key]))]),
    );
    await call('end_all', { userid });
  }
  calls.watch = await measureWatch(server, call, made, commands);
  await made();
  return calls;
}

/** Of several calls: what the server does from time to time, such as removing expired sessions, may fall into one of them. */
function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** A change event, as a host that watches anything gets it of every change of every session. */
async function measureWatch(server, call, made, commands) {
  const { id } = await made();
  const stop = new AbortController();
  const watched = await fetch(`${server.url}/sessman/watch`, {
    headers: { 'X-Session-Id': id },
    signal: stop.signal,
  });
  const events = watched.body.getReader();
  await events.read();
  const changes = () =>
    commands.flatMap(({ reply }) => reply.cursor?.nextBatch ?? []).filter(({ _id }) => _id?._data);
  commands.length = 0;
  // A server that refuses change streams sends none, and another one none before the stream is open.
  for (let n = 0; n < 50 && changes().length === 0; n++) {
    await call('touch', { id });
    await pause(200);
  }
  if (changes().length === 0) return stop.abort();
  await pause(1000);
  commands.length = 0;
  for (let n = 0; n < times; n++) await call('touch', { id });
  for (let n = 0; n < 50 && changes().length < times; n++) await pause(200);
  stop.abort();
  const sent = changes();
  const size = sent.reduce((sum, change) => sum + calculateObjectSize(change), 0);
  return { events: sent.length / times, received: Math.round(size / sent.length) };
}

async function keysIn(collection) {
  const documents = await collection.find().toArray();
  return new Set((await keysOf(documents, await collection.indexes())).map(({ name }) => name));
}

/** The entries of these documents in the indexes; a sparse index holds those alone that have its field. */
async function keysOf(documents, indexes) {
  return documents.flatMap((document) =>
    indexes
      .filter(({ key, sparse }) => !sparse || Object.keys(key).every((field) => field in document))
      .map(({ name, key }) => {
        const values = Object.keys(key).map((field) => document[field]);
        return {
          name: `${name} ${JSON.stringify(values)} ${document._id.toString('hex')}`,
          size: values.reduce((sum, value) => sum + sizeOf(value), 0),
        };
      }),
  );
}

function sizeOf(value) {
  return value instanceof Date ? 8 : typeof value === 'string' ? Buffer.byteLength(value) : value.length();
}

/** On a mongod: bytes on its disk by collection and index, and the writes of 32 clients in ten seconds. */
async function measureDisk(server, sessionsIn, count) {
  const clients = Array.from({ length: 32 }, (_, n) => n);
  const ids = [];
  const send = async (name, id, body) => {
    const response = await fetch(`${server.url}/sessman/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(id && { 'X-Session-Id': id }) },
      body: JSON.stringify(body),
    });
    return response.json();
  };
  await Promise.all(
    clients.map(async (n) => {
      for (let i = n; i < count; i += clients.length)
        ids.push((await send('new', undefined, { userid: `user-${i}@example.org`, data })).session_id);
    }),
  );
  let writes = 0;
  const end = performance.now() + 10_000;
  await Promise.all(
    clients.map(async () => {
      for (; performance.now() < end; writes++) await send('touch', ids[(writes * 7919) % ids.length], {});
    }),
  );
  const {
    storageSize,
    size,
    totalIndexSize,
    count: stored,
  } = await sessionsIn.db.command({
    collStats: sessionsIn.collectionName,
  });
  return {
    compression: storageSize / size,
    indexBytes: totalIndexSize / stored,
    writesPerShard: writes / 10,
  };
}

/** What a session takes in the embedded store's file, by the bytes of its data. */
export async function measureEmbedded(dataBytes, count = 100_000) {
  const bytes = {};
  for (const length of dataBytes) bytes[length] = await bytesOfSession(length, count);
  return { sessions: count, bytes };
}

async function bytesOfSession(dataBytes, count) {
  const folder = await mkdtemp(join(tmpdir(), 'scale-'));
  const store = await EmbeddedStore.openClaimed(folder);
  const text = JSON.stringify({ text: 'x'.repeat(dataBytes - '{"text":""}'.length) });
  try {
    for (let from = 0; from < count; from += atOnce) {
      await Promise.all(Array.from({ length: atOnce }, (_, n) => store.insert(recordOf(from + n, text))));
    }
    return Math.round((await stat(join(folder, storeFile))).size / count);
  } finally {
    await store.close();
    await rm(folder, { recursive: true });
  }
}

function recordOf(n, text) {
  const now = Date.now();
  return {
    handle: randomBytes(12).toString('base64url'),
    secretHash: randomBytes(32),
    userid: `user-${n}@example.org`,
    data: text,
    version: 1,
    created: now,
    touched: now,
    expires: now + 86_400_000,
    ends: now + 30 * 86_400_000,
  };
}
