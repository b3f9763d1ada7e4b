import { bitFlips } from './rows/bit-flips.js';
import { channel } from './rows/channel.js';
import { clocks } from './rows/clocks.js';
import { contained } from './rows/contained.js';
import { containers } from './rows/containers.js';
import { crashImages } from './rows/crash-images.js';
import { damaged } from './rows/damaged.js';
import { databaseFaults } from './rows/database.js';
import { diskErrors } from './rows/disk-errors.js';
import { diskFull } from './rows/disk-full.js';
import { expiry } from './rows/expiry.js';
import { frozenWorker } from './rows/frozen-worker.js';
import { generated } from './rows/generated.js';
import { hosts } from './rows/hosts.js';
import { jobs } from './rows/jobs.js';
import { killed } from './rows/killed.js';
import { network } from './rows/network.js';
import { noSpace } from './rows/no-space.js';
import { overload } from './rows/overload.js';
import { stoppedReaders } from './rows/readers.js';
import { restore } from './rows/restore.js';
import { rotation } from './rows/rotation.js';
import { slowClientsFault } from './rows/slow-clients.js';
import { soak } from './rows/soak.js';
import { sockets } from './rows/sockets.js';
import { storage } from './rows/storage.js';
import type { Fault } from './support/fault.js';

/** Every fault, in the order of the table. */
export const faults: readonly Fault[] = [
  killed,
  crashImages,
  diskFull,
  noSpace,
  diskErrors,
  frozenWorker,
  stoppedReaders,
  containers,
  damaged,
  bitFlips,
  restore,
  ...databaseFaults,
  storage,
  jobs,
  channel,
  sockets,
  rotation,
  network,
  hosts,
  generated,
  slowClientsFault,
  overload,
  expiry,
  clocks,
  contained,
  soak,
];
