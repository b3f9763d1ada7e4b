/** The types that plugins and their tests rely on, each written out once more: a plugin compiles against these as against the package. */
export const promised = `
import type { AddressInfo, Server } from 'node:net';
import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import type { WebSocket } from 'ws';
import type { z } from 'zod';

export interface Kit {
  use(middleware: Middleware): void;
  storage<T>(name: string): Storage<T>;
  every(name: string, schedule: Schedule, run: (job: Job) => void | Promise<void>, options?: { timeZone?: string }): void;
  channel<T>(name: string): Channel<T>;
  websocket(path: string, handler: (socket: WebSocket, ctx: Context) => void | Promise<void>): void;
  websocket<D>(path: string, options: WebSocketOptions<D>, handler: (socket: WebSocket, ctx: Context, data: D) => void | Promise<void>): void;
  listen(server: Server, options: { port: number; host?: string }): Promise<AddressInfo>;
  sendFile(ctx: Context, root: string, path: string, options?: { type?: string; maxAge?: number; download?: string | true }): Promise<void>;
  now(): Date;
}

export interface Storage<T> {
  get(key: string): Promise<T | undefined>;
  set(key: string, value: T, options?: { ttl?: number }): Promise<void>;
  delete(key: string): Promise<boolean>;
  update(key: string, change: (value: T | undefined) => T | undefined, options?: { ttl?: number }): Promise<T | undefined>;
  entries(options?: { prefix?: string; after?: string; limit?: number; reverse?: boolean }): AsyncIterable<readonly [key: string, value: T]>;
}

export type Schedule = \`\${number} \${'s' | 'min' | 'h' | 'd'}\` | \`\${string} \${string} \${string} \${string} \${string}\`;

export interface Job {
  readonly scheduledAt: Date;
  readonly signal: AbortSignal;
  readonly catchUp: boolean;
  readonly attempt: number;
  readonly fence: number;
}

export interface Channel<T> {
  publish(value: T): void;
  subscribe(handler: (value: T) => void | Promise<void>): () => void;
}

export interface WebSocketOptions<D> {
  upgrade?: (ctx: Context) => D | Promise<D>;
  protocols?: readonly string[];
  maxPayload?: number;
  perMessageDeflate?: boolean;
}

export interface RawBody { readonly kind: 'raw' }
export interface StreamBody { readonly kind: 'stream' }
export declare function raw(): RawBody;
export declare function stream(): StreamBody;

type Input<S, Without> = S extends z.ZodType ? z.output<S> : Without;
type BodyOf<B> = B extends RawBody ? Buffer : B extends StreamBody ? IncomingMessage : B extends z.ZodType ? z.output<B> : unknown;

export interface RouteOptions<P, Q, B, R> {
  summary?: string;
  description?: string;
  tags?: readonly string[];
  params?: P;
  query?: Q;
  body?: B;
  response?: R;
  bodyLimit?: number;
  requestTimeout?: number;
}

export declare function route<
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  B extends z.ZodType | RawBody | StreamBody | undefined = undefined,
  R extends z.ZodType | undefined = undefined,
>(
  options: RouteOptions<P, Q, B, R>,
  handler: (input: {
    params: Input<P, Record<string, string>>;
    query: Input<Q, Record<string, string | string[] | undefined>>;
    body: BodyOf<B>;
    ctx: Context;
  }) => R extends z.ZodType ? z.input<R> | Promise<z.input<R>> : unknown,
): Middleware;

export interface StartPluginOptions {
  parameters?: Record<string, unknown>;
  plugins?: readonly (string | URL)[];
  fakes?: Record<string, unknown>;
  ini?: string;
  workers?: number;
  storage?: 'embedded' | \`mongodb://\${string}\`;
  now?: Date;
}

export interface StartedPlugin {
  readonly url: string;
  reload(): Promise<void>;
  readonly clock: { now(): Date; advance(milliseconds: number): Promise<void> };
  close(): Promise<void>;
}

export declare function startPlugin(plugin: URL | string, options?: StartPluginOptions): Promise<StartedPlugin>;
`;

/** Each of them in place of the package's, and the other way round. */
export const exchanged = `
import * as kit from 'plugin-server';
import * as testing from 'plugin-server/testing';
import type * as promised from './promised.js';

type Both<Ours, Theirs> = [Ours, Theirs] extends [Theirs, Ours] ? true : false;
type Arguments<T> = T extends (...all: infer All) => unknown ? All : T;
/** The arguments apart: TypeScript lets a method take less than another, and still exchanges the two. */
type Members<Ours, Theirs> = {
  [Name in keyof Ours]: Name extends keyof Theirs ? Both<Arguments<Ours[Name]>, Arguments<Theirs[Name]>> : false;
};
type Exchange<Ours, Theirs> = false extends Both<Ours, Theirs> | Members<Ours, Theirs>[keyof Ours] ? false : true;
type Value = { readonly runs: number };
type Routes<P, Q, B, R> = Exchange<kit.RouteOptions<P, Q, B, R>, promised.RouteOptions<P, Q, B, R>>;

export const types: readonly true[] = [
  // channel() also takes options.
  true satisfies Both<kit.Kit, promised.Kit> & Exchange<Omit<kit.Kit, 'channel'>, Omit<promised.Kit, 'channel'>>,
  true satisfies Exchange<kit.Storage<Value>, promised.Storage<Value>>,
  true satisfies Both<kit.Schedule, promised.Schedule>,
  true satisfies Exchange<kit.Job, promised.Job>,
  true satisfies Exchange<kit.Channel<Value>, promised.Channel<Value>>,
  true satisfies Exchange<kit.WebSocketOptions<Value>, promised.WebSocketOptions<Value>>,
  true satisfies Exchange<kit.RawBody, promised.RawBody>,
  true satisfies Exchange<kit.StreamBody, promised.StreamBody>,
  true satisfies Routes<kit.z.ZodObject, undefined, kit.z.ZodString, kit.z.ZodNumber>,
  true satisfies Exchange<typeof kit.route, typeof promised.route>,
  true satisfies Exchange<typeof kit.raw, typeof promised.raw>,
  true satisfies Exchange<typeof kit.stream, typeof promised.stream>,
  true satisfies Exchange<testing.StartPluginOptions, promised.StartPluginOptions>,
  true satisfies Exchange<testing.StartedPlugin, promised.StartedPlugin>,
  true satisfies Exchange<typeof testing.startPlugin, typeof promised.startPlugin>,
];

/** What setup gets goes where a Kit is wanted, whatever the plugin's configuration is. */
const makeCounts = ({ storage, now }: Pick<kit.Kit, 'storage' | 'now'>) => ({ counts: storage<number>('counts'), now });
const takeAll = (all: promised.Kit) => all.now();
export default kit.definePlugin({
  config: kit.z.object({ name: kit.z.string() }),
  after: ['sessman'],
  setup(context) {
    takeAll(context);
    makeCounts(context);
  },
});
`;
