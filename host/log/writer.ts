import { closeSync, constants, fstatSync, open, openSync, write, writeSync } from 'node:fs';
import { isJournal, type LevelName, type LineCounts, type LineKind, priorityPrefix } from './line.js';

/**
 * How many characters of lines may wait while earlier lines are being written; further ones are dropped. Access lines may fill
 * half of the space that they share with application lines, so that they are dropped first. Audit lines have their own.
 */
const SHARED = 1024 * 1024;
const OF_ACCESS = SHARED / 2;
const OF_AUDIT = SHARED / 4;
/** Milliseconds between two attempts after a failed write. */
const RETRY = 1000;
/** Milliseconds until a full pipe is tried again. */
const RETRY_FULL = 20;
/** Milliseconds that the process waits for unwritten lines before it ends. */
const PATIENCE = 1000;
/** Milliseconds after which a write counts as hanging. */
const STALLED = 500;
/**
 * Milliseconds from one write to the next. A write goes through the thread pool, which costs as much as a small request, so
 * on a busy server many lines share a write. A quiet server writes each line at once.
 */
const PACE = 10;
/** From this many characters on, lines are written without waiting. */
const ENOUGH = 64 * 1024;

/**
 * Bytes of one write to a pipe that other workers write to as well. The system keeps a write together up to this size
 * (PIPE_BUF in pipe(7)); of a larger one, lines would be torn apart.
 */
const WHOLE = 4096;

/** Do not wait for the reader of a named pipe. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

const STDOUT = 1;
const STDERR = 2;

/** Lines of one kind, each with its line feed. */
interface Lines {
  readonly kind: LineKind;
  text: string;
}

/**
 * Writes log lines to a file or to standard output, one write at a time, and never makes its callers wait. Lines that the
 * system refuses (a full disk, a pipe without a reader) or does not accept in time (a file system that hangs) are dropped
 * and counted; audit lines are tried again. Standard error says so once, and again when it is over.
 */
export class LogWriter {
  readonly #dropped = { access: 0, application: 0, audit: 0 };
  readonly #file: string | undefined;
  /** Called when lines can be written again, with how many were dropped. */
  readonly #onRecovered: (dropped: LineCounts) => void;
  /** Undefined while the file cannot be opened. */
  #fd: number | undefined;
  /** Of the destination: several writes at a time, from several processes, do not mix. */
  #keepsWrites = false;
  /** Each line begins with its priority. */
  readonly #isJournal: boolean;
  #waiting: Lines[] = [];
  /** Lines that were waiting, of which every write takes some. */
  #batch: Lines[] = [];
  /** What the current write has taken. */
  #taken: Lines[] = [];
  /** Characters of each kind in `#waiting` and `#batch`. */
  #held = { access: 0, application: 0, audit: 0 };
  #isWriting = false;
  #writingSince = Number.NEGATIVE_INFINITY;
  /** Set while lines wait for the next write, or audit lines for the next attempt. */
  #paced: NodeJS.Timeout | undefined;
  /** `performance.now()` of the latest failure; 0 while all is well. */
  #failedAt = 0;
  /** The file ends in the middle of a line. */
  #isTorn = false;
  /** `dropped` when this trouble began; undefined while there is none. */
  #droppedBefore: LineCounts | undefined;
  #onIdle: (() => void)[] = [];

  /** Throws the system's error where the file cannot be opened. A named pipe may get its reader later. */
  constructor(file: string | undefined, onRecovered: (dropped: LineCounts) => void = () => {}) {
    this.#file = file;
    this.#onRecovered = onRecovered;
    this.#isJournal = file === undefined && isJournal(STDOUT);
    if (writers.size === 0) process.on('exit', endThoughWriting);
    writers.add(this);
    if (file === undefined) {
      this.#opened(STDOUT);
      return;
    }
    try {
      this.#opened(openSync(file, FLAGS));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
    }
  }

  #opened(fd: number): void {
    this.#fd = fd;
    this.#keepsWrites = fstatSync(fd).isFile();
  }

  /** Lines since the start. */
  get dropped(): LineCounts {
    return { ...this.#dropped };
  }

  /** Takes whole lines of one kind and one level. */
  write(lines: string, kind: LineKind, level: LevelName): void {
    const text = this.#isJournal ? lines.replace(/^(?=.)/gm, priorityPrefix(level)) : lines;
    const isFailing = this.#failedAt !== 0 && performance.now() - this.#failedAt < RETRY;
    if (isFailing && kind !== 'audit') {
      this.#drop([{ kind, text }], undefined);
    } else if (this.#space(kind) < text.length) {
      this.#drop([{ kind, text }], 'it does not accept lines fast enough');
    } else {
      append(this.#waiting, kind, text);
      this.#held[kind] += text.length;
      if (isFailing) this.#tryAgain();
      else if (!this.#isWriting) this.#nextInPace();
    }
  }

  /** How many characters of this kind may still wait. */
  #space(kind: LineKind): number {
    const { access, application, audit } = this.#held;
    if (kind === 'audit') return OF_AUDIT - audit;
    const shared = SHARED - access - application;
    return kind === 'access' ? Math.min(shared, OF_ACCESS - access) : shared;
  }

  /** A write hangs. */
  get isStalled(): boolean {
    return this.#isWriting && performance.now() - this.#writingSince > STALLED;
  }

  /** Writes all waiting lines at once: the process is about to end. */
  flush(): void {
    if (this.#fd === undefined || this.#failedAt !== 0 || this.isStalled) return;
    try {
      for (let text = this.#takeLines(); text !== ''; text = this.#takeLines()) {
        for (let rest = Buffer.from(text); rest.length > 0; ) {
          rest = rest.subarray(writeSync(this.#fd, rest));
        }
      }
    } catch {
      // Nobody is left to report this to.
    }
  }

  /** Resolves when all lines have been written or cannot be, or after a second. */
  async end(): Promise<void> {
    if (!this.#isWriting && this.#hasLines) this.#next();
    if (!this.#isWriting) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, PATIENCE);
      this.#onIdle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Closes the file once its lines have been written. */
  async close(): Promise<void> {
    await this.end();
    clearTimeout(this.#paced);
    this.#paced = undefined;
    if (this.#fd !== undefined && this.#fd !== STDOUT && !this.#isWriting) {
      closeSync(this.#fd);
      this.#fd = undefined;
    }
    if (this.#isWriting) return;
    writers.delete(this);
    if (writers.size === 0) process.off('exit', endThoughWriting);
  }

  get #hasLines(): boolean {
    return this.#batch.length > 0 || this.#waiting.length > 0;
  }

  #nextInPace(): void {
    const pause = this.#writingSince + PACE - performance.now();
    const { access, application, audit } = this.#held;
    const enough = this.#batch.length > 0 || !this.#hasLines || access + application + audit >= ENOUGH;
    if (enough || pause <= 0) this.#next();
    else this.#paced ??= setTimeout(() => this.#next(), pause);
  }

  /** Nothing else may come that would cause the next attempt. */
  #tryAgain(): void {
    const pause = this.#failedAt + RETRY - performance.now();
    this.#paced ??= setTimeout(() => this.#next(), pause).unref();
  }

  #next(): void {
    clearTimeout(this.#paced);
    this.#paced = undefined;
    if (!this.#hasLines) {
      this.#tellIdle();
      return;
    }
    this.#isWriting = true;
    this.#writingSince = performance.now();
    if (this.#fd === undefined) {
      open(this.#file!, FLAGS, (error, fd) => {
        if (error === null) {
          this.#opened(fd);
          this.#writeLines();
        } else this.#fail(error, 0);
      });
    } else this.#writeLines();
  }

  #tellIdle(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** The lines for one write; empty when none wait. */
  #takeLines(): string {
    if (this.#batch.length === 0) {
      this.#batch = this.#waiting;
      this.#waiting = [];
    }
    this.#taken = this.#keepsWrites ? this.#batch.splice(0) : takeWhole(this.#batch);
    for (const { kind, text } of this.#taken) this.#held[kind] -= text.length;
    return joined(this.#taken);
  }

  #writeLines(): void {
    // End the line that a full disk has cut off, so that it does not spoil the next.
    const before = this.#isTorn ? '\n' : '';
    const text = before + this.#takeLines();
    write(this.#fd!, text, null, 'utf8', (error, written) => {
      if (error?.code !== 'EAGAIN' && (error !== null || written === Buffer.byteLength(text))) {
        this.#wrote(error, 0);
      } else this.#writeRest(Buffer.from(text), error === null ? written : 0, before.length);
    });
  }

  /** `done` of the bytes have been written; the first `before` of them are not of the lines. */
  #writeRest(bytes: Buffer, done: number, before: number): void {
    write(this.#fd!, bytes, done, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#writeRest(bytes, done, before), RETRY_FULL);
      else if (error !== null) this.#wrote(error, Math.max(0, done - before));
      else if (done + written === bytes.length) this.#wrote(null, 0);
      else this.#writeRest(bytes, done + written, before);
    });
  }

  /** @param done of the lines that were taken, where not all could be written: the bytes that were */
  #wrote(error: NodeJS.ErrnoException | null, done: number): void {
    if (error !== null) {
      // A part of the text may have been written.
      this.#isTorn = true;
      this.#fail(error, done);
      return;
    }
    this.#taken = [];
    this.#isTorn = false;
    this.#failedAt = 0;
    this.#isWriting = false;
    if (this.#droppedBefore !== undefined && this.#held.access + this.#held.application < SHARED / 2) {
      this.#recovered(this.#droppedBefore);
    }
    if (this.#onIdle.length > 0) this.#next();
    else this.#nextInPace();
  }

  #recovered(before: LineCounts): void {
    this.#droppedBefore = undefined;
    const { access, application, audit } = this.#dropped;
    const counts = {
      access: access - before.access,
      application: application - before.application,
      audit: audit - before.audit,
    };
    const shown = Object.entries(counts)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(', ');
    say(`the log can be written again (${this.#name}); lines were dropped: ${shown}`, 'warn');
    this.#onRecovered(counts);
  }

  #fail(error: NodeJS.ErrnoException, done: number): void {
    this.#failedAt = performance.now();
    this.#isWriting = false;
    const lines = [...unwritten(this.#taken, done), ...this.#batch, ...this.#waiting];
    this.#taken = [];
    this.#batch = [];
    this.#waiting = lines.filter(({ kind }) => kind === 'audit');
    this.#held = { access: 0, application: 0, audit: joined(this.#waiting).length };
    this.#drop(
      lines.filter(({ kind }) => kind !== 'audit'),
      error.code ?? error.message,
    );
    this.#tellIdle();
    if (this.#hasLines) this.#tryAgain();
  }

  #drop(lines: readonly Lines[], why: string | undefined): void {
    if (this.#droppedBefore === undefined) {
      this.#droppedBefore = this.dropped;
      say(`log lines are being dropped: ${this.#name} cannot be written (${why})`, 'error');
    }
    for (const { kind, text } of lines) {
      for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#dropped[kind] += 1;
    }
  }

  get #name(): string {
    return this.#file ?? 'standard output';
  }
}

function append(lines: Lines[], kind: LineKind, text: string): void {
  const last = lines.at(-1);
  if (last?.kind === kind) last.text += text;
  else lines.push({ kind, text });
}

function joined(lines: readonly Lines[]): string {
  return lines.length === 1 ? lines[0]!.text : lines.map(({ text }) => text).join('');
}

/** Takes from the lines those that one write keeps together. */
function takeWhole(lines: Lines[]): Lines[] {
  const taken: Lines[] = [];
  let bytes = 0;
  for (let first = lines[0]; first !== undefined; first = lines[0]) {
    const end = endOfLines(first.text, WHOLE - bytes, taken.length === 0);
    if (end > 0) taken.push({ kind: first.kind, text: first.text.slice(0, end) });
    if (end < first.text.length) {
      first.text = first.text.slice(end);
      break;
    }
    bytes += Buffer.byteLength(first.text);
    lines.shift();
  }
  return taken;
}

/** The lines of which not all bytes have been written. */
function unwritten(lines: readonly Lines[], done: number): Lines[] {
  const left: Lines[] = [];
  let written = done;
  for (const { kind, text } of lines) {
    const bytes = Buffer.from(text);
    if (written >= bytes.length) written -= bytes.length;
    else {
      const start = written === 0 ? 0 : bytes.lastIndexOf('\n', written - 1) + 1;
      left.push({ kind, text: bytes.toString('utf8', start) });
      written = 0;
    }
  }
  return left;
}

/** Where the lines end that have at most that many bytes together; with `takesFirst` at least the first line's end. */
function endOfLines(text: string, most: number, takesFirst: boolean): number {
  let end = 0;
  for (let bytes = 0; end < text.length; ) {
    const next = text.indexOf('\n', end) + 1 || text.length;
    bytes += Buffer.byteLength(text.slice(end, next));
    if (bytes > most && (end > 0 || !takesFirst)) break;
    end = next;
  }
  return end;
}

const writers = new Set<LogWriter>();

/**
 * At its end, Node waits for the threads of its pool, so a write that hangs would keep the process alive forever. A fatal
 * signal ends it whatever its threads do; after a stop, it is the signal that systemd and shells regard as a stop.
 */
function endThoughWriting(status: number): void {
  if (![...writers].some((writer) => writer.isStalled)) return;
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, status === 0 ? 'SIGTERM' : 'SIGKILL');
}

/** Not through process.stderr, which blocks when nobody reads it. */
function say(text: string, level: LevelName): void {
  const prefix = isJournal(STDERR) ? priorityPrefix(level) : '';
  write(STDERR, `${prefix}plugin-server: ${text}\n`, null, 'utf8', () => {});
}
