import { installed } from './machine.mjs';
import {
  echo,
  echoAlone,
  echoOfMany,
  ping,
  report,
  sessionCheck,
  sessionGet,
  sessionNew,
  sessionPatch,
  sessionUpdate,
} from './requests.mjs';

const durable = ['node:http + lmdb', 'node:http + SQLite', 'sessman'];
const encrypted = ['sessman', 'sessman, encrypted'];
const onMongo = ['node:http + mongodb', 'express-session + connect-mongo', 'sessman on MongoDB'];
const many = ['node:http + lmdb', 'node:http + lmdb, 1M sessions', 'sessman', 'sessman, 1M sessions'];
const databases = ['in-memory responder', ...(installed('mongod') ? ['mongod'] : [])];

/**
 * What is measured, in order. A row is one kind of request, sent to each contestant; the table compares them with the
 * first. `measure` is `load`, the default, `start`, `idle` or `calls`. A `proxied` row sends its requests through nginx. A `shared` row lets server and load have both cores. `database`
 * is the MongoDB that contestants are given.
 */
export const rows = [
  {
    group: 'host',
    name: 'no-op JSON POST',
    request: echo,
    contestants: [
      'node:http',
      'fastify',
      'fastify without log',
      'koa',
      'express',
      'plugin-server',
      'plugin-server, 1000 plugins',
    ],
  },
  {
    group: 'host',
    name: 'no-op GET',
    request: ping,
    contestants: ['node:http', 'fastify without log', 'plugin-server'],
  },
  {
    group: 'host',
    name: 'JSON POST of five members, checked',
    request: report,
    contestants: ['plugin-server', 'plugin-server with route()'],
  },
  {
    group: 'traces',
    name: 'no-op JSON POST, traces off',
    request: echo,
    contestants: ['plugin-server without hooks for traces', 'plugin-server'],
  },
  {
    group: 'limits',
    name: 'no-op JSON POST of 1,000 clients, 2 workers on one core',
    request: echoOfMany,
    contestants: ['plugin-server, 2 workers, proxied', 'plugin-server, 2 workers, proxied, rate limit'],
  },
  {
    group: 'workers',
    name: 'no-op JSON POST, cores shared with the load',
    request: echo,
    shared: true,
    contestants: [
      'plugin-server',
      'plugin-server, 2 workers',
      'node:http',
      'node:http, 2 processes',
      'node:http, 2 on one socket',
    ],
  },
  {
    group: 'connections',
    name: 'a new connection for each request',
    request: echoAlone,
    contestants: ['node:http', 'fastify', 'plugin-server'],
  },
  {
    group: 'connections',
    name: 'a new connection for each request, cores shared with the load',
    request: echoAlone,
    shared: true,
    contestants: [
      'node:http, 2 processes',
      'plugin-server, 2 workers',
      'plugin-server',
      'node:http, 2 on one socket',
      'node:http',
    ],
  },
  ...(installed('nginx')
    ? [
        {
          group: 'connections',
          name: 'behind nginx as it comes',
          request: echo,
          proxied: true,
          contestants: ['node:http', 'fastify', 'plugin-server'],
        },
      ]
    : []),
  {
    group: 'connections',
    name: '10,000 idle connections',
    request: echo,
    measure: 'idle',
    contestants: ['node:http', 'fastify', 'plugin-server'],
  },
  {
    group: 'start',
    name: 'start and rest, 10 routes',
    request: echo,
    measure: 'start',
    contestants: ['fastify', 'plugin-server', 'plugin-server as shipped', 'node:http and a bare parent'],
  },
  {
    group: 'start',
    name: 'start and rest, 10,000 routes',
    request: echo,
    measure: 'start',
    contestants: ['fastify, 1000 plugins', 'fastify, 1000 functions', 'plugin-server, 1000 plugins'],
  },
  ...['set', 'get'].map((operation) => ({
    group: 'storage',
    name: `storage ${operation}`,
    measure: 'calls',
    operation,
    contestants: ['lmdb by hand', 'storage of a plugin'],
  })),
  {
    group: 'sessions',
    name: 'session get',
    request: sessionGet,
    contestants: ['node:http + lmdb', '@fastify/session', 'koa-session', 'sessman'],
  },
  {
    group: 'sessions',
    name: 'session check',
    request: sessionCheck,
    contestants: ['node:http + lmdb', 'sessman'],
  },
  { group: 'sessions', name: 'session new', request: sessionNew, contestants: durable },
  { group: 'sessions', name: 'session update', request: sessionUpdate, contestants: durable },
  { group: 'sessions', name: 'session patch', request: sessionPatch, contestants: durable },
  { group: 'encryption', name: 'session new, encrypted', request: sessionNew, contestants: encrypted },
  { group: 'encryption', name: 'session update, encrypted', request: sessionUpdate, contestants: encrypted },
  ...databases.flatMap((database) => [
    {
      group: 'mongodb',
      name: `session get, ${database}`,
      request: sessionGet,
      database,
      contestants: onMongo,
    },
    {
      group: 'mongodb',
      name: `session update, ${database}`,
      request: sessionUpdate,
      database,
      contestants: onMongo,
    },
  ]),
  { group: 'million', name: 'session get among many', request: sessionGet, contestants: many },
  { group: 'million', name: 'session new among many', request: sessionNew, contestants: many },
  { group: 'million', name: 'session update among many', request: sessionUpdate, contestants: many },
];
