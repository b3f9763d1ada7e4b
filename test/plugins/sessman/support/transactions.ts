import { open } from 'lmdb';

/** A process that tells, whenever it is asked, how many transactions the LMDB file given has seen. */
const root = open(process.argv[2]!, { readOnly: true });
process.on('message', () => {
  root.resetReadTxn();
  process.send?.((root.getStats() as { lastTxnId: number }).lastTxnId);
});
