import { Binary } from 'bson';

/** Whether a document satisfies a filter, of the operators that session stores use. */
export function matches(document, filter) {
  return Object.entries(filter).every(([name, condition]) => {
    if (name === '$or') return condition.some((one) => matches(document, one));
    if (name === '$and') return condition.every((one) => matches(document, one));
    if (name.startsWith('$')) throw new Error(`the operator ${name} is not known here`);
    const value = document[name];
    if (!isOperators(condition)) return equal(value, condition);
    return Object.entries(condition).every(([operator, operand]) => {
      const test = conditions[operator];
      if (test === undefined) throw new Error(`the operator ${operator} is not known here`);
      return test(value, operand);
    });
  });
}

const conditions = {
  $eq: (value, operand) => equal(value, operand),
  $ne: (value, operand) => !equal(value, operand),
  $gt: (value, operand) => value > operand,
  $gte: (value, operand) => value >= operand,
  $lt: (value, operand) => value < operand,
  $lte: (value, operand) => value <= operand,
  $in: (value, operand) => operand.some((one) => equal(value, one)),
  $exists: (value, operand) => (value !== undefined) === Boolean(operand),
};

/**
 * A document as an update leaves it. Without a document, the one that an upsert with that filter makes.
 */
export function update(document, change, filter) {
  if (Array.isArray(change)) throw new Error('updates by pipeline are not known here');
  const base =
    document ?? Object.fromEntries(Object.entries(filter).filter(([, value]) => !isOperators(value)));
  if (!isOperators(change)) return { _id: base._id, ...change };
  const result = { ...base };
  for (const [operator, fields] of Object.entries(change)) {
    if (operator === '$setOnInsert' && document !== undefined) continue;
    const apply = changes[operator];
    if (apply === undefined) throw new Error(`the operator ${operator} is not known here`);
    for (const [name, operand] of Object.entries(fields)) apply(result, name, operand);
  }
  return result;
}

const set = (document, name, operand) => {
  document[name] = operand;
};

const changes = {
  $set: set,
  $setOnInsert: set,
  $unset: (document, name) => {
    delete document[name];
  },
  $inc: (document, name, operand) => {
    document[name] = (document[name] ?? 0) + operand;
  },
};

/** The document as a projection shows it: the fields named with 1, or all but those named with 0. */
export function project(document, projection) {
  const names = Object.entries(projection ?? {});
  if (names.length === 0) return document;
  const shown = names.filter(([, wanted]) => wanted).map(([name]) => name);
  const hidden = names.filter(([, wanted]) => !wanted).map(([name]) => name);
  const keeps =
    shown.length > 0
      ? (name) => shown.includes(name) || (name === '_id' && !hidden.includes('_id'))
      : (name) => !hidden.includes(name);
  return Object.fromEntries(Object.entries(document).filter(([name]) => keeps(name)));
}

function isOperators(value) {
  if (typeof value !== 'object' || value === null) return false;
  for (const name in value) return name.startsWith('$');
  return false;
}

function equal(a, b) {
  if (a instanceof Binary) return b instanceof Binary && a.buffer.equals(b.buffer);
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime();
  if (a?._bsontype === 'ObjectId') return a.equals(b);
  return a === b || (a == null && b == null);
}
