export { Configuration, type ReadOptions, readConfiguration } from './configuration.js';
export { findInexact, type InexactJson, isExactNumber } from './exact-json.js';
export {
  addresses,
  boolean,
  choice,
  decimal,
  hostNames,
  integer,
  keys,
  list,
  origins,
  text,
} from './fields.js';
export { childAt, childrenOf, keyPlace, type Located, type Place } from './located.js';
export { maskedValue } from './mask.js';
export { nearest, quoteName } from './names.js';
export { networks, networkTest } from './networks.js';
export { ConfigError, type FormatOptions, formatProblem, type Position, type Problem } from './problem.js';
export { describeKeys, type KeyReference } from './reference.js';
export { type CheckOptions, splitKeys } from './schema.js';
export { isSecretMember, isSecretName } from './secrets.js';
export type { KeyMeta } from './shape.js';
export { findInvalidUtf8 } from './utf8.js';
