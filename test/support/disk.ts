import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** A disk of that size, such as 16m, at that path. Undefined where none can be mounted, as without being root. */
export function mountDisk(path: string, size: string): { unmount(): void } | undefined {
  mkdirSync(path, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  // Processes that end may have files there open still.
  return { unmount: () => void execFileSync('umount', ['--lazy', path]) };
}
