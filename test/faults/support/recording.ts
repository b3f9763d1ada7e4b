import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const source = fileURLToPath(new URL('../../../../test/faults/support/recorder.c', import.meta.url));
const headLength = 40;
const kinds = ['', 'write', 'flush', 'truncate', 'end', 'response', 'create', 'map'] as const;

interface Begun {
  /** The same in its `end`. */
  readonly operation: bigint;
  readonly path: string;
}

/** What a process did, in the order in which everything happened (recorder.c). */
export type Step =
  | ({
      readonly kind: 'write';
      readonly offset: number;
      readonly data: Buffer;
      readonly isSynchronous: boolean;
    } & Begun)
  | ({ readonly kind: 'flush' } & Begun)
  | ({ readonly kind: 'truncate'; readonly offset: number } & Begun)
  | { readonly kind: 'end'; readonly operation: bigint; readonly result: number }
  /** A file or folder has got this name. `from`: its earlier or other name, '' for a folder. */
  | { readonly kind: 'create'; readonly path: string; readonly from: string }
  /** The X-Request-Id of a response with status 2xx, as it was handed to its socket. It begins with the name of a store's file. */
  | { readonly kind: 'response'; readonly id: string };

/** Records what the processes of a server do to the files below its folder. */
export class Recorder {
  private constructor(
    private readonly folder: string,
    /** For the server: without it, nothing is recorded. */
    readonly env: (recorded: string) => NodeJS.ProcessEnv,
  ) {}

  /** Compiles what is preloaded, which takes a C compiler. */
  static async create(): Promise<Recorder> {
    const folder = await mkdtemp(join(tmpdir(), 'plugin-server-recorder-'));
    const library = join(folder, 'recorder.so');
    await promisify(execFile)('cc', ['-O2', '-shared', '-fPIC', '-o', library, source]);
    return new Recorder(folder, (recorded) => ({
      LD_PRELOAD: library,
      RECORDER_LOG: join(folder, 'log'),
      RECORDER_FOLDER: recorded,
    }));
  }

  /** @throws Error where something was done that a recording does not show */
  async steps(): Promise<Step[]> {
    const log = await readFile(join(this.folder, 'log'));
    const steps: Step[] = [];
    for (let at = 0; at < log.length; ) {
      const pathEnd = at + headLength + log.readUInt32LE(at + 32);
      const dataEnd = pathEnd + log.readUInt32LE(at + 36);
      const path = log.toString('utf8', at + headLength, pathEnd);
      const step = stepOf(log.subarray(at, at + headLength), path, log.subarray(pathEnd, dataEnd));
      if (step !== undefined) steps.push(step);
      at = dataEnd;
    }
    return steps;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

function stepOf(head: Buffer, path: string, data: Buffer): Step | undefined {
  const kind = kinds[head.readUInt32LE(0)];
  const operation = head.readBigUInt64LE(8);
  const offset = Number(head.readBigUInt64LE(16));
  switch (kind) {
    case 'write':
      return { kind, operation, path, offset, data, isSynchronous: head.readUInt32LE(4) === 1 };
    case 'flush':
      return { kind, operation, path };
    case 'truncate':
      return { kind, operation, path, offset };
    case 'end':
      return { kind, operation, result: Number(head.readBigInt64LE(24)) };
    case 'create':
      return { kind, path, from: data.toString() };
    case 'response': {
      const text = data.toString('latin1');
      const id = /^x-request-id: *(\S+)\r?$/im.exec(text)?.[1];
      return id !== undefined && /^HTTP\/1\.1 2/.test(text) ? { kind, id } : undefined;
    }
    default:
      throw new Error(`${path} is mapped for shared writing: what is written there is not recorded`);
  }
}

/** What a fault in the store, or in how it uses the disk, would have recorded instead. */
export const mutants: Readonly<Record<string, (steps: readonly Step[]) => Step[]>> = {
  'no fdatasync': (steps) => steps.filter((step) => step.kind !== 'flush' || !isData(step.path)),
  'no flush of the folder': (steps) => steps.filter((step) => step.kind !== 'flush' || isData(step.path)),
  'meta page before data': metaFirst,
  'response before the flush': responsesFirst,
};

/** Whether a path is of an LMDB file, or of one that becomes one. */
function isData(path: string): boolean {
  return path.includes('.mdb');
}

/** Moves the write of each commit's meta page before the writes of its data. */
function metaFirst(steps: readonly Step[]): Step[] {
  const ends = new Map(steps.flatMap((step) => (step.kind === 'end' ? [[step.operation, step]] : [])));
  const moved: Step[] = [];
  /** Where in `moved` the commit of a file began. */
  const begun = new Map<string, number>();
  for (const step of steps) {
    if (step.kind !== 'write' || !isData(step.path)) moved.push(step);
    else if (!step.isSynchronous) {
      if (!begun.has(step.path)) begun.set(step.path, moved.length);
      moved.push(step);
    } else {
      const end = ends.get(step.operation);
      moved.splice(begun.get(step.path) ?? moved.length, 0, step, ...(end ? [end] : []));
      begun.clear();
    }
  }
  return moved;
}

/** Moves each response before the last flush of its store's file. */
function responsesFirst(steps: readonly Step[]): Step[] {
  const moved: Step[] = [];
  for (const step of steps) {
    if (step.kind !== 'response') moved.push(step);
    else {
      const file = `${step.id.split('-')[0]}.mdb`;
      const flush = moved.findLastIndex((each) => each.kind === 'flush' && each.path.endsWith(file));
      moved.splice(Math.max(flush, 0), 0, step);
    }
  }
  return moved;
}
