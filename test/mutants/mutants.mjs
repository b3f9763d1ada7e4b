/**
 * Slips that somebody could make: in `file`, the text `from`, which stands there once, becomes `to`. At least one of
 * `tests`, named as they lie in test/, must fail then. Change the texts here when you change the code.
 */
export const mutants = [
  ...inFile(
    'config/template.ts',
    ['config/values', 'config/broken', 'config/secrets'],
    [
      ['shown = at + 2;', 'shown = at + 1;'],
      ['depth > deepestDefault', 'depth >= deepestDefault'],
      ["(value[at + 1] === '{' || value[at + 1] === '$')", "value[at + 1] === '{'"],
      ['from = match.index + match[0].length;', 'from = match.index + 1;'],
      ["section?.toUpperCase() === 'FILE'", "section === 'FILE'", ['config/handed-in']],
      ["part.kind === 'text' || !isOrdinary(part)", "part.kind === 'text'"],
      ['span.start + dash + 4', 'span.start + dash + 2'],
      ['last.text.trimEnd().length', 'last.text.length'],
    ],
  ),
  ...inFile(
    'config/interpolate.ts',
    ['config/values', 'config/broken', 'config/secrets'],
    [
      ["(value !== '' || !fallback)", "value !== ''"],
      ['this.#open.length > longestChain', 'this.#open.length >= longestChain'],
      ['isReference && pieces.length === 1', 'isReference'],
      ['item.items.length > longestList', 'item.items.length >= longestList'],
      ['text.length > longestText', 'text.length >= longestText'],
      ['secret ||= target.secret;', 'secret = target.secret;'],
      ['Object.hasOwn(env, name) ? env[name] : undefined', 'env[name]'],
      ['secret: scope.secret || items.some((child) => child.secret)', 'secret: scope.secret'],
    ],
  ),
  ...inFile(
    'config/ini.ts',
    ['config/values', 'config/broken', 'config/secrets', 'config/ini'],
    [
      [
        "character === '\\u2028' ? '\\\\u2028' : '\\\\u2029'",
        "character === '\\u2028' ? '\\\\u2029' : '\\\\u2028'",
      ],
      ['replace(/[^a-z0-9]/g,', 'replace(/[^a-z0-9.]/g,'],
      ['!first || (first.refused && !entry.refused)', '!first'],
      ['close + 1 < text.end', 'close + 2 < text.end'],
      [
        'section = readHeader(source, text, sections, fault);\n      afterSecret = false;',
        'section = readHeader(source, text, sections, fault);',
      ],
    ],
  ),
  ...inFile(
    'config/conversions.ts',
    ['config/values', 'config/broken'],
    [
      ['Number.isSafeInteger(value) ? value + 0', 'Number.isSafeInteger(value) ? value'],
      ['Number.isSafeInteger(value)', 'Number.isInteger(value)'],
      ['(?:[eE][+-]?\\d+)?$/', '(?:[eE]-?\\d+)?$/'],
      ['text.toLowerCase()', 'text'],
    ],
  ),
  ...inFile(
    'config/json.ts',
    ['config/broken', 'config/mask', 'config/secrets', 'config/secrets'],
    [
      ['depth > deepest', 'depth >= deepest'],
      [
        'secret: secret || text.secret || embeddedSecrets(text.value).length > 0',
        'secret: secret || text.secret',
      ],
      ['isWhole ? to.end : source.lines[line - 1]!.end', 'to.end'],
      ['!seen.has(line) && seen.add(line)', '!seen.has(line)'],
    ],
  ),
  ...inFile(
    'config/exact-json.ts',
    ['config/exact-json'],
    [
      ['Math.abs(value) < 2 ** 53', 'Math.abs(value) <= 2 ** 53'],
      ['value > -(2 ** 53)', 'value >= -(2 ** 53)'],
      ['(at - first) % 2 === 0', 'at === first'],
      [" || text.includes('E-')", ''],
      ['frame.index += 1;', ''],
    ],
  ),
  ...inFile(
    'config/secrets.ts',
    ['config/secrets', 'config/mask'],
    [
      ['word.length > 6', 'word.length >= 6'],
      ["value.lastIndexOf('@')", "value.indexOf('@')"],
      ['colon + 1 < at', 'colon < at'],
      ["'=?;, '.includes", "'=?;,'.includes"],
      ['part.environment && isSecretName(part.key)', 'part.environment'],
    ],
  ),
  ...inFile(
    'config/schema.ts',
    ['config/schema', 'config/broken'],
    [
      ['path.length === 0 && inspection.subject.alsoKnown', 'inspection.subject.alsoKnown'],
      ['schemas.every(isClosed)', 'schemas.some(isClosed)'],
      ['![...everything(written)].some(({ broken }) => broken)', '!written.broken'],
      ['wanted.has(key) ? taken : rest', 'wanted.has(key) ? rest : taken'],
    ],
  ),
  ...inFile(
    'config/explain.ts',
    ['config/schema', 'config/broken', 'config/secrets'],
    [
      ['a.length - b.length)[0]', 'b.length - a.length)[0]'],
      ['.toSorted((a, b) => b.length - a.length)', '.toSorted((a, b) => a.length - b.length)'],
      ["origin === 'string' && isLow && bound === 1", "origin === 'string' && isLow"],
      ['keys.length > 12', 'keys.length >= 12'],
    ],
  ),
  ...inFile(
    'config/names.ts',
    ['config/problem', 'config/schema', 'config/broken'],
    [
      ['wanted.length < 4 ? 1', 'wanted.length <= 4 ? 1'],
      ['related.length === 1', 'related.length >= 1'],
      ['name.length > 60', 'name.length >= 60'],
    ],
  ),
  ...inFile('config/utf8.ts', ['config/problem'], [['offset += 3;', 'offset += 1;']]),
  ...inFile(
    'config/configuration.ts',
    ['config/handed-in'],
    [
      ["replace(/\\r?\\n$/, '')", 'trimEnd()'],
      ['Object.hasOwn(env, name) ? env[name] : undefined', 'env[name]'],
    ],
  ),

  ...inFile(
    'plugins/sessman/sessions.ts',
    ['plugins/sessman/stores/embedded'],
    [
      ['absoluteTimeout === 0 ? NEVER : ', ''],
      ['size > limit', 'size >= limit'],
      ['size = Buffer.byteLength(text)', 'size = text.length'],
      ['Buffer.byteLength(userid) > maxUserid', 'Buffer.byteLength(userid) >= maxUserid'],
      ['(userid === undefined || record.userid === userid)', 'true'],
      ['timingSafeEqual(record.secretHash, id.secretHash) &&', ''],
      ['this.#limits.maxPerUser > 0', 'this.#limits.maxPerUser > 1'],
      ['longestUnused(live, live.length - maxPerUser)', 'longestUnused(live, live.length - maxPerUser - 1)'],
      ['live.length > maxPerUser + loginBatch', 'live.length >= maxPerUser + loginBatch'],
      ['a.touched - b.touched', 'b.touched - a.touched'],
      ['b.created - a.created', 'a.created - b.created'],
      [
        'touched,\n    expires: Math.min(expires, ends),\n    authenticated,',
        'touched,\n    expires,\n    authenticated,',
      ],
      ['secretHash: next.secretHash,', ''],
      ['({ handle, userid, touched, now })', '({ handle, userid, now })'],
      ['!versions.includes(current)', 'versions[0] !== current'],
      ['owned(await this.#store.peek(id.handle, this.#now()), id, userid).handle', 'id.handle'],
      [
        'throw versionMismatch((await this.#readOwned(id, userid)).version)',
        'throw versionMismatch((await this.#readOwned(id, undefined)).version)',
      ],
    ],
  ),
  ...inFile(
    'plugins/sessman/stores/fenced.ts',
    ['plugins/sessman/stores/frozen-holders'],
    [['<= fence', '<= Number.MAX_VALUE']],
  ),
  ...inFile(
    'plugins/sessman/stores/mongodb/notes.ts',
    ['plugins/sessman/stores/mongodb'],
    [['ends: new Date(0)', 'ends: new Date(now)']],
  ),
  ...inFile(
    'databases/lmdb/wall-clock.ts',
    ['databases/clocks'],
    [
      ['step >= -tolerance', 'true'],
      ['step <= tolerance', 'true'],
      ['Math.max(wall, mark.time + at)', 'wall'],
      ['isFresh && !isBelieved', 'isFresh'],
      ['mark.time + at - mark.at', 'wall'],
    ],
  ),
  ...inFile(
    'databases/mongodb/server-clock.ts',
    ['databases/clocks'],
    [
      ['known && !mayBeSame', 'false'],
      ['this.#doubtfulSince = undefined;', ''],
    ],
  ),
  ...inFile(
    'plugins/sessman/merge-patch.ts',
    ['plugins/sessman/stores/embedded'],
    [
      ['value === null) delete', 'value === undefined) delete'],
      ['Object.hasOwn(target, name) ? target[name] : undefined', 'target[name]'],
      ['isJsonObject(before) ? before : {}', '(before as JsonObject | undefined) ?? {}'],
      ["name !== '__proto__'", "name !== ''"],
      [' && !Array.isArray(value)', ''],
    ],
  ),
  ...inFile(
    'plugins/sessman/session-id.ts',
    ['plugins/sessman/stores/embedded'],
    [
      ['{42}[AEIMQUYcgkosw048]$/', '{43}$/'],
      ['sha256(id.slice(handleLength))', 'sha256(id.slice(0, handleLength))'],
    ],
  ),
  ...inFile(
    'plugins/sessman/store.ts',
    ['plugins/sessman/stores/embedded'],
    [
      ['record.expires > now', 'record.expires >= now'],
      ['record.ends > now', 'record.ends >= now'],
      ['(match.version === undefined || record.version === match.version)', 'true'],
      ['(match.userid === undefined || record.userid === match.userid)', 'true'],
      ['(match.touched === undefined || record.touched === match.touched)', 'true'],
    ],
  ),
  ...inFile(
    'host/http/route/input.ts',
    ['host/http/route/input'],
    [
      ["kind === 'list' ? [given] : given", 'given'],
      ["name === 'apikey' || name === '__proto__'", "name === '__proto__'"],
      ["kind === 'text') {", "kind === 'list') {"],
      ['problems.slice(0, MOST_PROBLEMS)', 'problems'],
      ["!('apikey' in body)", 'true'],
    ],
  ),
  ...inFile(
    'host/http/route/output.ts',
    ['host/http/route/output'],
    [
      ['ctx.status = 204;', 'ctx.status = 200;'],
      ["!ctx.res.hasHeader('Content-Type')", 'false'],
      ['!checksResponses || ', ''],
    ],
  ),
  ...inFile(
    'host/http/route/response-check.ts',
    ['host/http/route/output'],
    [
      ['catchall ?? z.never()', 'catchall'],
      ["if (type === 'date') return", "if (type === 'dates') return"],
    ],
  ),
  ...inFile(
    'host/http/body-wish.ts',
    ['host/http/route/bodies'],
    [['Math.min(asked, bound)', 'Math.max(asked, bound)']],
  ),
  ...inFile(
    'host/http/key-gates.ts',
    ['host/http/key-gates'],
    [['others < 0 ? passed :', 'others < 1 ? passed :']],
  ),
  ...inFile(
    'host/storage/cron.ts',
    ['host/storage/schedule'],
    [
      ['const [first] = zone.instants(wall);', 'const first = zone.instants(wall).at(-1);'],
      ['first ?? zone.transition', 'first ?? wall ?? zone.transition'],
      ['isSteady(zone, upTo) ? to : to + near', 'to'],
      ["fields[1]!.startsWith('*')", "fields[1] === '*'"],
      ["day.startsWith('*') || weekday.startsWith('*')", "day === '*' || weekday === '*'"],
      ['from = change - 1;', 'from = change + near;'],
    ],
  ),
  ...inFile(
    'host/storage/schedule.ts',
    ['host/storage/schedule'],
    [
      ['(Math.floor(after / period) + 1) * period', 'Math.ceil(after / period) * period'],
      ['Math.floor(upTo / period) * period', 'upTo - period'],
    ],
  ),
  ...inFile(
    'host/storage/time-zone.ts',
    ['host/storage/schedule'],
    [
      ['.filter((instant) => instant + offset(instant) === wall)', ''],
      ['if (offset(middle) === before) low = middle;', 'if (offset(middle) !== before) low = middle;'],
    ],
  ),
  ...inFile(
    'host/storage/updates.ts',
    ['host/storage/embedded'],
    [
      ['entry && entry.expires > this.now() ? entry : undefined', 'entry'],
      ['failures.every((failure)', 'failures.some((failure)'],
      ['{ revision: entry?.revision ?? null, fence }', '{ fence }'],
      ['revision: entry?.revision ?? null, fence }', 'revision: entry?.revision ?? null }'],
      ['content = change(content);', 'content = change(before);'],
    ],
  ),
  ...inFile(
    'host/storage/plugin-storage.ts',
    ['host/storage/embedded'],
    [
      ['?? content?.expires ?? Number', '?? Number'],
      ['if (entry.expires <= now) continue;', ''],
      ['content, { fence }', 'content, {}'],
      ['.then(this.#isSet, this.#isNotSet)', '.then(() => {}, this.#isNotSet)'],
      ['return base.store.write(', 'base.store.write('],
      ['`${space}${last}\\0`', 'space + last'],
      ['left -= 1;', ''],
      ['lower(to, space + last)', 'space + last'],
      ['higher(from, `${space}', '(`${space}'],
      ['Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0', 'a < b'],
      ['lossOfLease() ?? cause', 'cause'],
    ],
  ),
  ...inFile(
    'host/storage/run-context.ts',
    ['host/storage/embedded'],
    [
      ["run === undefined || run.state === 'ended'", 'run === undefined'],
      ["if (run.state === 'lost') throw storageError('lease_lost');", ''],
    ],
  ),
  ...inFile(
    'host/storage/key.ts',
    ['host/storage/embedded'],
    [
      ['Buffer.byteLength(text) <= MAX_KEY', 'text.length <= MAX_KEY'],
      ["if (text.includes('\\0')) return 'contains NUL';", ''],
      ['points.push(last === 0xd7ff ? 0xe000 : last + 1);', 'points.push(last);'],
    ],
  ),
  ...inFile(
    'host/storage/value.ts',
    ['host/storage/embedded'],
    [['bytes > MAX_VALUE', 'bytes >= MAX_VALUE']],
  ),
  ...inFile(
    'host/kit/json-text.ts',
    ['host/storage/embedded'],
    [
      ['if (member === undefined) continue;', ''],
      ['return Number.isFinite(value);', 'return !Number.isNaN(value);'],
      ['if (within.includes(value)) return', 'if (within.length > 10) return'],
    ],
  ),
  ...inFile(
    'host/channels/backlog.ts',
    ['host/channels/one-process'],
    [
      ['this.length > values || this.#size > bytes', 'this.#size > bytes'],
      ['this.length > values || this.#size > bytes', 'this.length > values'],
      ['this.length > values ||', 'this.length >= values ||'],
      ['this.#size -= text.length;', ''],
    ],
  ),
  ...inFile(
    'host/channels/subscriber.ts',
    ['host/channels/one-process'],
    [
      ['if (!this.#running) this.#run();', 'this.#run();'],
      ['if (result instanceof Promise) await result;', ''],
      ['this.#backlog.clear();', ''],
    ],
  ),
  ...inFile(
    'host/kit/served-folder.ts',
    ['plugins/files/hostile-paths'],
    [['every(isServable)', 'every(Boolean)']],
  ),
];

function inFile(file, tests, changes) {
  return changes.map(([from, to, itsTests = tests]) => ({ file, from, to, tests: itsTests }));
}
