import { conflicting, invalid, type Parameters } from './parameters.js';

/**
 * Reads If-Match (RFC 9110, section 13.1.1) into `version`: `*` is any version, a list matches when one of its ETags does,
 * and a weak ETag never matches.
 */
export function readIfMatch(header: string, values: Partial<Parameters>): void {
  if (header === '*') return;
  const single = singleTag.exec(header);
  const wanted = single ? Number(single[1]) : versionsOf(header);
  const { version } = values;
  if (version === undefined) values.version = wanted;
  else if (typeof wanted === 'number' ? version !== wanted : !wanted.includes(version as number)) {
    // A weak ETag contradicts nothing; it is only never true.
    if (typeof wanted === 'object' && wanted.length === 0) values.version = wanted;
    else throw conflicting('version');
  }
}

const singleTag = /^"(0|[1-9]\d{0,14})"$/;
const anyTag = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g;

/** The versions that a list of ETags allows: none where all are weak. */
function versionsOf(header: string): number[] {
  const tags = header.match(anyTag) ?? [];
  // A recipient ignores empty elements of a list (section 5.6.1).
  const isList = header
    .replaceAll(anyTag, 'tag')
    .split(',')
    .every((element) => element.trim() === 'tag' || element.trim() === '');
  const strong = tags.filter((tag) => !tag.startsWith('W/')).map((tag) => singleTag.exec(tag)?.[1]);
  if (tags.length === 0 || !isList || strong.includes(undefined))
    throw invalid('If-Match', 'is neither * nor a list of ETags, such as "7" with its quotes');
  return strong.map(Number);
}
