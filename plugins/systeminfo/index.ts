import { uptime } from 'node:os';
import { definePlugin, once } from 'plugin-server';
import { describe } from './describe.js';
import { systeminfoError } from './errors.js';
import { Sampled } from './sampled.js';
import { settings } from './settings.js';

/** Reports the machine's CPU, memory, disks, network and uptime, which it measures in the background. */
export default definePlugin({
  config: settings,

  setup({ config, router, log, signal }) {
    const { interval, disk_interval, interfaces } = config;
    // Loaded with the first measurement: a quarter of a worker's memory, which most servers never need.
    const library = once(() => import('./measurements.js'));
    const cpu = once(async () => (await library()).cpuMeter());
    const sources = {
      cpu: new Sampled('cpu', async () => (await cpu())(), interval * 1000, log),
      memory: new Sampled('memory', async () => (await library()).memory(), interval * 1000, log),
      disks: new Sampled('disks', async () => (await library()).disks(), disk_interval * 1000, log),
      network: new Sampled(
        'network',
        async () => (await library()).network(interfaces),
        interval * 1000,
        log,
      ),
    };
    const startAll = () => Promise.all(Object.values(sources).map((source) => source.start(signal)));

    router.get('/', describe.all, async (ctx) => {
      await inTime(startAll());
      ctx.body = {
        cpu: sources.cpu.latest ?? null,
        memory: sources.memory.latest ?? null,
        disks: sources.disks.latest ?? null,
        network: sources.network.latest ?? null,
        uptime: sinceBoot(),
      };
    });
    for (const [name, source] of Object.entries(sources)) {
      router.get(`/${name}`, describe[name as keyof typeof sources], async (ctx) => {
        await inTime(source.start(signal));
        if (!source.latest)
          throw systeminfoError('not_measured', { name }, { headers: { 'Retry-After': '5' } });
        ctx.body = source.latest;
      });
    }
    router.get('/uptime', describe.uptime, (ctx) => {
      ctx.body = sinceBoot();
    });
  },
});

/** Milliseconds that a request waits for the very first measurement. Later requests get the latest one at once. */
const firstMeasurement = 1000;

async function inTime(first: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, firstMeasurement);
  });
  await Promise.race([first, late]);
  clearTimeout(timer);
}

function sinceBoot(): { seconds: number; booted_at: string } {
  const seconds = Math.floor(uptime());
  return { seconds, booted_at: new Date(Date.now() - seconds * 1000).toISOString() };
}
