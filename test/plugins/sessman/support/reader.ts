import { open } from 'lmdb';

/** A process that reads in the LMDB file given, says so, and keeps its snapshot until it is killed. */
const root = open(process.argv[2]!, { overlappingSync: false });
const snapshot = root.useReadTransaction();
root.getKeys({ transaction: snapshot, limit: 1 });
process.send?.('reading');
setInterval(() => snapshot, 60_000);
