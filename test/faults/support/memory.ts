import { readFile } from 'node:fs/promises';

/** The memory that processes have to themselves, in whole MB: pages that they share are counted once, as the kernel has it. */
export async function memoryOf(pids: readonly number[]): Promise<number> {
  let kB = 0;
  for (const pid of pids) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    kB += Number(/^Pss_Anon:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
  return Math.round(kB / 1024);
}
