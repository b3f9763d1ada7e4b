import { damaged } from './rows/damaged.js';
import { killed } from './rows/killed.js';
import type { Fault } from './support/fault.js';

/** Every fault, in the order of the table. */
export const faults: readonly Fault[] = [killed, damaged];
