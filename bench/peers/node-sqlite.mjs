import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { serveSessions } from './sessions-by-hand.mjs';

mkdirSync(process.env.DATA, { recursive: true });
const database = new Database(join(process.env.DATA, 'sessions.db'));
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.exec(`
  CREATE TABLE IF NOT EXISTS sessions (
    handle BLOB PRIMARY KEY, secret BLOB NOT NULL, userid TEXT NOT NULL, data TEXT NOT NULL, version INTEGER NOT NULL,
    created INTEGER NOT NULL, touched INTEGER NOT NULL, ends INTEGER NOT NULL, expires INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS by_user ON sessions (userid, created);
  CREATE INDEX IF NOT EXISTS by_expiry ON sessions (expires);
`);
const insert = database.prepare('INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
const select = database.prepare('SELECT * FROM sessions WHERE handle = ?');
const update = database.prepare(
  'UPDATE sessions SET data = ?, version = ?, touched = ?, expires = ? WHERE handle = ? AND version = ?',
);

// Values go in as a list: the binding takes a lone Buffer for an object of names.
serveSessions({
  async create({ handle, secret, userid, data, version, created, touched, ends, expires }) {
    insert.run([handle, secret, userid, data, version, created, touched, ends, expires]);
  },
  read,
  // This process is the only one that writes, and nothing else runs between the read and the write.
  async change(handle, changed) {
    const old = read(handle);
    const record = old && changed(old);
    if (record === undefined) return undefined;
    update.run([record.data, record.version, record.touched, record.expires, handle, old.version]);
    return record;
  },
});

function read(handle) {
  const row = select.get([handle]);
  return row && { ...row, secret: Buffer.from(row.secret) };
}
