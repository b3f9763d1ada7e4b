import { type CpuInfo, cpus, loadavg, networkInterfaces } from 'node:os';
import system from 'systeminformation';

/**
 * The measurements, in the form that responses have. Sizes are bytes, shares are percent with one decimal, and a value that
 * this machine does not report is null.
 */
export interface Cpu {
  readonly model: string | null;
  readonly cores: number;
  readonly physical_cores: number | null;
  readonly speed_ghz: number | null;
  /** Since the previous measurement; null in the first. */
  readonly load_percent: number | null;
  readonly load_percent_per_core: readonly (number | null)[];
  /** Over 1, 5 and 15 minutes; null on Windows, which does not have it. */
  readonly load_average: readonly number[] | null;
}

export interface Memory {
  readonly total: number;
  readonly used: number;
  readonly available: number;
  readonly used_percent: number | null;
  readonly cached: number | null;
  readonly buffers: number | null;
  readonly swap: { readonly total: number; readonly used: number };
}

export interface Disks {
  readonly filesystems: readonly {
    readonly device: string;
    readonly mount: string;
    readonly type: string;
    readonly size: number;
    readonly used: number;
    readonly available: number;
    readonly used_percent: number | null;
    readonly read_only: boolean | null;
  }[];
}

export interface Network {
  readonly interfaces: readonly {
    readonly name: string;
    /** `192.0.2.7/24` */
    readonly addresses: readonly string[];
    readonly received: number;
    readonly sent: number;
    /** Bytes per second since the previous measurement; null in the first. */
    readonly received_per_second: number | null;
    readonly sent_per_second: number | null;
  }[];
}

/** Each call measures the load since the previous call. */
export function cpuMeter(): () => Promise<Cpu> {
  let before: readonly CpuInfo[] = [];
  const processor = system.cpu();
  return async () => {
    const now = cpus();
    const loads = now.map((core, index) => loadBetween(before[index], core));
    const measured = loads.filter((load) => load !== null);
    before = now;
    const { manufacturer, brand, physicalCores, speed } = await processor;
    return {
      model: [manufacturer, brand].filter(Boolean).join(' ') || null,
      cores: now.length,
      physical_cores: positive(physicalCores),
      speed_ghz: positive(speed),
      load_percent: measured.length > 0 ? round(measured.reduce((a, b) => a + b) / measured.length) : null,
      load_percent_per_core: loads.map((load) => (load === null ? null : round(load))),
      load_average: process.platform === 'win32' ? null : loadavg().map((load) => round(load, 100)),
    };
  };
}

export async function memory(): Promise<Memory> {
  const { total, active, available, cached, buffers, swaptotal, swapused } = await system.mem();
  return {
    total,
    used: active,
    available,
    used_percent: percent(active, total),
    cached: positive(cached),
    buffers: positive(buffers),
    swap: { total: swaptotal, used: swapused },
  };
}

export async function disks(): Promise<Disks> {
  const filesystems = await system.fsSize();
  return {
    filesystems: filesystems.map(({ fs, mount, type, size, used, available, rw }) => ({
      device: fs,
      mount,
      type,
      size,
      used,
      available,
      used_percent: percent(used, used + available),
      read_only: typeof rw === 'boolean' ? !rw : null,
    })),
  };
}

/** Interfaces measured when none are named. A host of containers has hundreds, and each costs a process. */
const maximumInterfaces = 8;

/** Measures the interfaces with these names. Without names, the first that lead to other machines. */
export async function network(wanted: readonly string[]): Promise<Network> {
  const present = Object.entries(networkInterfaces()).filter(([name, addresses = []]) =>
    wanted.length > 0 ? wanted.includes(name) : addresses.some(({ internal }) => !internal),
  );
  const interfaces = [];
  for (const [name, addresses = []] of wanted.length > 0 ? present : present.slice(0, maximumInterfaces)) {
    const [stats] = await system.networkStats(name);
    if (!stats) continue;
    interfaces.push({
      name,
      addresses: addresses.map(({ address, cidr }) => cidr ?? address),
      received: stats.rx_bytes,
      sent: stats.tx_bytes,
      received_per_second: rate(stats.rx_sec),
      sent_per_second: rate(stats.tx_sec),
    });
  }
  return { interfaces };
}

function loadBetween(before: CpuInfo | undefined, now: CpuInfo): number | null {
  if (!before) return null;
  const idle = now.times.idle - before.times.idle;
  const all = total(now) - total(before);
  return all > 0 ? Math.min(100, Math.max(0, 100 * (1 - idle / all))) : null;
}

function total({ times }: CpuInfo): number {
  return times.user + times.nice + times.sys + times.idle + times.irq;
}

/** Systeminformation reports what it cannot find out as 0, NaN or an empty text. */
function positive(value: number): number | null {
  return Number.isFinite(value) && value > 0 ? value : null;
}

function percent(part: number, whole: number): number | null {
  return whole > 0 ? round((100 * part) / whole) : null;
}

function rate(value: number | null): number | null {
  return value === null || !Number.isFinite(value) ? null : Math.max(0, Math.round(value));
}

function round(value: number, precision = 10): number {
  return Math.round(value * precision) / precision;
}
