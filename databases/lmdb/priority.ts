import { constants, getPriority, setPriority } from 'node:os';

/** For a command that works on a store in use: whatever serves requests on the same machine has the processor first. */
export function giveWayToServers(): void {
  const { PRIORITY_BELOW_NORMAL } = constants.priority;
  // Whoever started it may have given it even less.
  if (getPriority() < PRIORITY_BELOW_NORMAL) setPriority(PRIORITY_BELOW_NORMAL);
}
