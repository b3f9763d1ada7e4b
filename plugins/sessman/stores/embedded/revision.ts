/**
 * The revision of a record, which LMDB keeps with it, carries the record's checksum: a place in which version 0.1.0 leaves it
 * alone, since that version only adds one to a revision. It is a whole number from 2^52 on,
 *
 *     2^52  +  checksum, 32 bits  +  number of the write, 4 bits  +  writes of version 0.1.0 since, 16 bits
 *
 * so that a record which 0.1.0 has written since shows it, and has no checksum until its next write. (After exactly 65,536
 * writes of 0.1.0 in between, it passes for damaged.) The number of the write lets a process notice that others have written
 * meanwhile, even if the checksum is the same by chance. 0.1.0 counts the revisions of its own records from 1.
 */
export function revisionAfter(before: number, checksum: number): number {
  const writes = Math.floor(before / writeUnit) + 1;
  return base + checksum * checksumUnit + (writes % writeCount) * writeUnit;
}

/** The checksum in a revision; undefined where version 0.1.0 wrote the record, NaN where nobody writes such a revision. */
export function checksumIn(revision: number): number | undefined {
  if (!Number.isInteger(revision) || revision < 1 || revision >= 2 * base) return Number.NaN;
  if (revision < base) return revision < most010 ? undefined : Number.NaN;
  return revision % writeUnit === 0 ? Math.floor((revision - base) / checksumUnit) : undefined;
}

const base = 2 ** 52;
const checksumUnit = 2 ** 20;
const writeUnit = 2 ** 16;
const writeCount = 2 ** 4;
/** More writes than one record ever sees. */
const most010 = 2 ** 40;
