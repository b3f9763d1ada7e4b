import { openapi } from 'plugin-server';
import { errors } from './errors.js';

const bytes = { type: 'integer', description: 'bytes' };
const percent = { type: ['number', 'null'], minimum: 0, maximum: 100, description: 'percent' };
const maybeNumber = { type: ['number', 'null'] };
const time = { type: 'string', format: 'date-time' };

const cpu = object({
  sampled_at: time,
  model: { type: ['string', 'null'] },
  cores: { type: 'integer' },
  physical_cores: maybeNumber,
  speed_ghz: maybeNumber,
  load_percent: percent,
  load_percent_per_core: { type: 'array', items: percent },
  load_average: {
    type: ['array', 'null'],
    items: { type: 'number' },
    description: 'over 1, 5 and 15 minutes',
  },
});

const memory = object({
  sampled_at: time,
  total: bytes,
  used: bytes,
  available: bytes,
  used_percent: percent,
  cached: maybeNumber,
  buffers: maybeNumber,
  swap: object({ total: bytes, used: bytes }),
});

const disks = object({
  sampled_at: time,
  filesystems: {
    type: 'array',
    items: object({
      device: { type: 'string' },
      mount: { type: 'string' },
      type: { type: 'string' },
      size: bytes,
      used: bytes,
      available: bytes,
      used_percent: percent,
      read_only: { type: ['boolean', 'null'] },
    }),
  },
});

const network = object({
  sampled_at: time,
  interfaces: {
    type: 'array',
    items: object({
      name: { type: 'string' },
      addresses: { type: 'array', items: { type: 'string' } },
      received: bytes,
      sent: bytes,
      received_per_second: { ...maybeNumber, description: 'bytes per second since the previous measurement' },
      sent_per_second: { ...maybeNumber, description: 'bytes per second since the previous measurement' },
    }),
  },
});

const uptime = object({ seconds: { type: 'integer' }, booted_at: time });

/** The description of each route in /openapi.json. */
export const describe = {
  all: route('All measurements', object({ cpu, memory, disks, network, uptime })),
  cpu: route('CPU and its load', cpu, true),
  memory: route('Memory and swap', memory, true),
  disks: route('File systems and their free space', disks, true),
  network: route('Network interfaces and their traffic', network, true),
  uptime: route('Time since the machine booted', uptime),
};

function route(summary: string, schema: object, mayLack = false) {
  return openapi({
    summary,
    responses: {
      200: { description: summary, content: { 'application/json': { schema } } },
      ...(mayLack && { 503: { description: errors.not_measured.when } }),
    },
  });
}

function object(properties: Readonly<Record<string, object>>): object {
  return { type: 'object', properties, required: Object.keys(properties) };
}
