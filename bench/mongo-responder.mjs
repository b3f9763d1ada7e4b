// node mongo-responder.mjs PORT
//
// Answers the MongoDB wire protocol out of memory, with as little work as can be: no disk, no indexes but `_id`, no users,
// and only the commands and operators that session stores use. It takes the database out of the figures; it is no
// database. What it does not know it refuses, so that no figure comes from work left undone.
import { createServer } from 'node:net';
import { Binary, BSON } from 'bson';
import { matches, project, update } from './mongo-documents.mjs';

const opReply = 1;
const opQuery = 2004;
const opMessage = 2013;
const headerLength = 16;
const moreToCome = 2;

const port = Number(process.argv[2]);
/** By `database.collection`, then by `_id` as text. */
const collections = new Map();

createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  let pending = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    const replies = [];
    while (pending.length >= 4 && pending.length >= pending.readInt32LE(0)) {
      const length = pending.readInt32LE(0);
      const reply = answer(pending.subarray(0, length));
      if (reply !== undefined) replies.push(reply);
      pending = pending.subarray(length);
    }
    if (replies.length > 0) socket.write(replies.length === 1 ? replies[0] : Buffer.concat(replies));
  });
}).listen(port, '127.0.0.1');

function answer(message) {
  const id = message.readInt32LE(4);
  switch (message.readInt32LE(12)) {
    case opMessage: {
      const reply = BSON.serialize(run(readCommand(message)));
      if (message.readInt32LE(headerLength) & moreToCome) return undefined;
      // Flags, then one section of kind 0.
      return Buffer.concat([header(id, opMessage, 5 + reply.length), Buffer.alloc(5), reply]);
    }
    case opQuery: {
      // Flags, the collection's name, two numbers, and the command.
      const start = message.indexOf(0, headerLength + 4) + 1 + 8;
      const reply = BSON.serialize(run(parse(message, start)));
      const head = Buffer.alloc(20);
      head.writeInt32LE(1, 16);
      return Buffer.concat([header(id, opReply, head.length + reply.length), head, reply]);
    }
    default:
      return undefined;
  }
}

function header(responseTo, operation, bodyLength) {
  const bytes = Buffer.alloc(headerLength);
  bytes.writeInt32LE(headerLength + bodyLength, 0);
  bytes.writeInt32LE(responseTo, 8);
  bytes.writeInt32LE(operation, 12);
  return bytes;
}

/** Sections of kind 0 are the command, those of kind 1 lists that belong to it (`documents`, `updates`, `deletes`). */
function readCommand(message) {
  let command;
  const lists = {};
  const checksum = message.readInt32LE(headerLength) & 1 ? 4 : 0;
  for (let at = headerLength + 4; at < message.length - checksum; ) {
    const kind = message[at];
    const size = message.readInt32LE(at + 1);
    if (kind === 0) command = parse(message, at + 1);
    else {
      const nameEnd = message.indexOf(0, at + 5);
      const list = [];
      for (let start = nameEnd + 1; start < at + 1 + size; start += message.readInt32LE(start)) {
        list.push(parse(message, start));
      }
      lists[message.toString('utf8', at + 5, nameEnd)] = list;
    }
    at += 1 + size;
  }
  return { ...command, ...lists };
}

function parse(bytes, start) {
  return BSON.deserialize(bytes.subarray(start, start + bytes.readInt32LE(start)));
}

function run(command) {
  const [name] = Object.keys(command);
  const handle = commands[name];
  if (handle === undefined)
    return { ok: 0, code: 59, codeName: 'CommandNotFound', errmsg: `no such command: ${name}` };
  try {
    return { ...handle(command, collectionOf(command, name)), ok: 1 };
  } catch (error) {
    return { ok: 0, code: error.code ?? 2, errmsg: error.message };
  }
}

function collectionOf(command, name) {
  const key = `${command.$db}.${command[name]}`;
  let collection = collections.get(key);
  if (collection === undefined) {
    collection = new Map();
    collections.set(key, collection);
  }
  return collection;
}

const commands = {
  hello,
  ismaster: hello,
  isMaster: hello,
  ping: () => ({}),
  buildInfo: () => ({ version: '8.0.0', versionArray: [8, 0, 0, 0] }),
  endSessions: () => ({}),
  killCursors: () => ({}),
  listIndexes: () => cursor([{ v: 2, key: { _id: 1 }, name: '_id_' }]),
  createIndexes: () => ({ numIndexesBefore: 1, numIndexesAfter: 1 }),

  find({ filter, projection, limit }, collection) {
    const found = select(collection, filter, limit || Number.POSITIVE_INFINITY);
    return cursor(found.map((document) => project(document, projection)));
  },

  insert({ documents }, collection) {
    for (const [index, document] of documents.entries()) {
      if (collection.has(keyOf(document._id))) {
        return { n: index, writeErrors: [{ index, code: 11000, errmsg: 'E11000 duplicate key error' }] };
      }
      collection.set(keyOf(document._id), document);
    }
    return { n: documents.length };
  },

  update({ updates }, collection) {
    let n = 0;
    const upserted = [];
    for (const [index, { q, u, upsert, multi }] of updates.entries()) {
      const found = select(collection, q, multi ? Number.POSITIVE_INFINITY : 1);
      for (const document of found) collection.set(keyOf(document._id), update(document, u));
      if (found.length === 0 && upsert) {
        const document = update(undefined, u, q);
        collection.set(keyOf(document._id), document);
        upserted.push({ index, _id: document._id });
      }
      n += found.length || upserted.length;
    }
    return { n, nModified: n - upserted.length, ...(upserted.length > 0 ? { upserted } : {}) };
  },

  findAndModify({ query, update: change, remove, new: wantsNew, upsert, fields }, collection) {
    if (upsert) throw new Error('findAndModify with upsert is not known here');
    const [before] = select(collection, query, 1);
    if (before === undefined) return { lastErrorObject: { n: 0, updatedExisting: false }, value: null };
    const key = keyOf(before._id);
    if (remove) {
      collection.delete(key);
      return { lastErrorObject: { n: 1 }, value: project(before, fields) };
    }
    const after = update(before, change);
    collection.set(key, after);
    return {
      lastErrorObject: { n: 1, updatedExisting: true },
      value: project(wantsNew ? after : before, fields),
    };
  },

  delete({ deletes }, collection) {
    let n = 0;
    for (const { q, limit } of deletes) {
      for (const document of select(collection, q, limit || Number.POSITIVE_INFINITY)) {
        collection.delete(keyOf(document._id));
        n++;
      }
    }
    return { n };
  },
};

/** A replica set of one, so that drivers use sessions and retryable writes as they do in production. */
function hello() {
  const me = `127.0.0.1:${port}`;
  return {
    helloOk: true,
    isWritablePrimary: true,
    ismaster: true,
    setName: 'bench',
    setVersion: 1,
    hosts: [me],
    primary: me,
    me,
    maxBsonObjectSize: 16 << 20,
    maxMessageSizeBytes: 48_000_000,
    maxWriteBatchSize: 100_000,
    localTime: new Date(),
    logicalSessionTimeoutMinutes: 30,
    minWireVersion: 0,
    maxWireVersion: 25,
    readOnly: false,
  };
}

function cursor(firstBatch) {
  return { cursor: { id: BSON.Long.ZERO, ns: 'bench.sessions', firstBatch } };
}

/** The first documents that a filter matches; at once where it names the `_id`. */
function select(collection, filter, limit) {
  const found = [];
  const key = keyOf(filter?._id);
  const candidates = key === undefined ? collection.values() : [collection.get(key)];
  for (const document of candidates) {
    if (found.length >= limit) break;
    if (document !== undefined && matches(document, filter ?? {})) found.push(document);
  }
  return found;
}

/** The `_id` as text; undefined for what is no value but a condition. */
function keyOf(id) {
  if (typeof id === 'string') return `string:${id}`;
  if (id instanceof Binary) return `binary:${id.toString('base64')}`;
  if (id?._bsontype === 'ObjectId') return `objectid:${id.toHexString()}`;
  return undefined;
}
