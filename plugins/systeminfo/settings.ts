import { decimal, list, text, z } from 'plugin-server';

/** The plugin's parameters. */
export const settings = z.object({
  interval: decimal({ min: 1, max: 3600 })
    .default(5)
    .meta({ description: 'pause between two measurements', unit: 'seconds' }),
  disk_interval: decimal({ min: 1, max: 86400 })
    .default(60)
    .meta({ description: 'pause between two measurements of the disks', unit: 'seconds' }),
  interfaces: list(text()).default([]).meta({
    description: 'network interfaces to measure; by default the first eight that lead to other machines',
  }),
});
