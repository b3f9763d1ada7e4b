import type { Collection, Document, IndexDescription } from 'mongodb';
import { hasCode } from '../../../../databases/mongodb/errors.js';

/**
 * Creates the indexes of the sessions collection, and replaces those of the same name or key that differ. Other indexes
 * are left alone. Several hosts may do this at once.
 *
 * The TTL index covers the date itself, with expireAfterSeconds 0, so no setting ever changes it.
 *
 * @returns whether the server removes expired documents by itself
 */
export async function ensureIndexes(collection: Collection<Document>): Promise<{ expires: boolean }> {
  await ensureIndex(collection, byUser);
  const expires = await ensureExpiry(collection);
  await ensureIndex(collection, byEnd);
  return { expires };
}

async function ensureExpiry(collection: Collection<Document>): Promise<boolean> {
  try {
    await ensureIndex(collection, ttl);
    return true;
  } catch (error) {
    if (!hasCode(error, ...notImplemented)) throw error;
    await ensureIndex(collection, byExpiry);
    return false;
  }
}

type Index = IndexDescription & { readonly name: string; readonly key: Readonly<Record<string, 1 | -1>> };

const byUser: Index = { name: 'userid_created', key: { userid: 1, created: -1 } };
/** Of notes alone. */
const byEnd: Index = { name: 'ended_at', key: { ended_at: 1 }, sparse: true };
const ttl: Index = { name: 'expires_ttl', key: { expires: 1 }, expireAfterSeconds: 0 };
const byExpiry: Index = { name: 'expires', key: { expires: 1 } };

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const namespaceNotFound = 26;
const indexNotFound = 27;
const indexDiffers = [85, 86];
const notImplemented = [115, 238];

async function ensureIndex(collection: Collection<Document>, index: Index): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const existing = await listIndexes(collection);
    if (existing.some((other) => isSame(other, index))) return;
    for (const other of existing) {
      if (other.name === index.name || hasSameKey(other, index)) await dropIndex(collection, other.name);
    }
    try {
      await collection.createIndexes([index]);
      return;
    } catch (error) {
      // Another host was faster, with an index of its version: look again.
      if (!hasCode(error, ...indexDiffers) || attempt === 5) throw error;
    }
  }
}

async function listIndexes(collection: Collection<Document>): Promise<Document[]> {
  try {
    return await collection.listIndexes().toArray();
  } catch (error) {
    if (hasCode(error, namespaceNotFound)) return [];
    throw error;
  }
}

async function dropIndex(collection: Collection<Document>, name: string): Promise<void> {
  try {
    await collection.dropIndex(name);
  } catch (error) {
    if (!hasCode(error, indexNotFound)) throw error;
  }
}

function isSame(other: Document, index: Index): boolean {
  return (
    hasSameKey(other, index) &&
    other.expireAfterSeconds === index.expireAfterSeconds &&
    !other.unique &&
    Boolean(other.sparse) === Boolean(index.sparse) &&
    !other.partialFilterExpression
  );
}

function hasSameKey(other: Document, index: Index): boolean {
  return JSON.stringify(other.key) === JSON.stringify(index.key);
}
