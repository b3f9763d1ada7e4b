import { open } from 'lmdb';

/** A process that begins a transaction in the LMDB file given, says so, and stands still in it until it is killed. */
const root = open(process.argv[2]!, { overlappingSync: false });
root.transactionSync(() => {
  process.send?.('began');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
