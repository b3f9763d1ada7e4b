import { closeSync, constants, fstatSync, open, openSync, write, writeSync } from 'node:fs';

/** How many characters of lines may wait while earlier lines are being written. Further lines are dropped. */
const MOST_HELD = 1024 * 1024;
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

/**
 * Writes log lines to a file or to standard output, one write at a time, and never makes its callers wait. Lines that the
 * system refuses (a full disk, a pipe without a reader) or does not accept in time (a file system that hangs) are dropped
 * and counted. Standard error says so once, and again when it is over.
 */
export class LogWriter {
  /** Lines since the start. */
  dropped = 0;
  readonly #file: string | undefined;
  /** Undefined while the file cannot be opened. */
  #fd: number | undefined;
  /** Of the destination: several writes at a time, from several processes, do not mix. */
  #keepsWrites = false;
  #waiting = '';
  /** Lines that were waiting, of which every write takes some. */
  #batch = '';
  #isWriting = false;
  #writingSince = Number.NEGATIVE_INFINITY;
  /** Set while lines wait for the next write. */
  #paced: NodeJS.Timeout | undefined;
  /** `performance.now()` of the latest failure; 0 while all is well. */
  #failedAt = 0;
  /** The file ends in the middle of a line. */
  #isTorn = false;
  /** `dropped` when this trouble began; undefined while there is none. */
  #droppedBefore: number | undefined;
  #onIdle: (() => void)[] = [];

  /** Throws the system's error where the file cannot be opened. A named pipe may get its reader later. */
  constructor(file: string | undefined) {
    this.#file = file;
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

  write(lines: string): void {
    if (this.#failedAt !== 0 && performance.now() - this.#failedAt < RETRY) {
      this.#drop(lines, undefined);
    } else if (this.#batch.length + this.#waiting.length + lines.length > MOST_HELD) {
      this.#drop(lines, 'it does not accept lines fast enough');
    } else {
      this.#waiting += lines;
      if (!this.#isWriting) this.#nextInPace();
    }
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

  /** Resolves when all lines have been written, or after a second. */
  async end(): Promise<void> {
    if (this.#paced !== undefined) this.#next();
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
    if (this.#fd !== undefined && this.#fd !== STDOUT && !this.#isWriting) {
      closeSync(this.#fd);
      this.#fd = undefined;
    }
    if (this.#isWriting) return;
    writers.delete(this);
    if (writers.size === 0) process.off('exit', endThoughWriting);
  }

  #nextInPace(): void {
    const pause = this.#writingSince + PACE - performance.now();
    const enough = this.#batch !== '' || this.#waiting === '' || this.#waiting.length >= ENOUGH;
    if (enough || pause <= 0) this.#next();
    else this.#paced ??= setTimeout(() => this.#next(), pause);
  }

  #next(): void {
    clearTimeout(this.#paced);
    this.#paced = undefined;
    if (this.#batch === '' && this.#waiting === '') {
      for (const resolve of this.#onIdle.splice(0)) resolve();
      return;
    }
    this.#isWriting = true;
    this.#writingSince = performance.now();
    if (this.#fd === undefined) {
      open(this.#file!, FLAGS, (error, fd) => {
        if (error === null) {
          this.#opened(fd);
          this.#writeLines();
        } else this.#fail(error, '');
      });
    } else this.#writeLines();
  }

  /** The lines for one write; empty when none wait. */
  #takeLines(): string {
    if (this.#batch === '') {
      this.#batch = this.#waiting;
      this.#waiting = '';
    }
    const end = this.#keepsWrites ? this.#batch.length : endOfLines(this.#batch, WHOLE);
    const text = this.#batch.slice(0, end);
    this.#batch = this.#batch.slice(end);
    return text;
  }

  #writeLines(): void {
    // End the line that a full disk has cut off, so that it does not spoil the next.
    const text = (this.#isTorn ? '\n' : '') + this.#takeLines();
    write(this.#fd!, text, null, 'utf8', (error, written) => {
      if (error?.code !== 'EAGAIN' && (error !== null || written === Buffer.byteLength(text))) {
        this.#wrote(error, text);
      } else this.#writeRest(Buffer.from(text).subarray(error === null ? written : 0));
    });
  }

  #writeRest(rest: Buffer): void {
    write(this.#fd!, rest, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#writeRest(rest), RETRY_FULL);
      else if (error !== null || written === rest.length) this.#wrote(error, rest.toString());
      else this.#writeRest(rest.subarray(written));
    });
  }

  #wrote(error: NodeJS.ErrnoException | null, text: string): void {
    if (error !== null) {
      // A part of the text may have been written.
      this.#isTorn = true;
      this.#fail(error, text);
      return;
    }
    this.#isTorn = false;
    this.#failedAt = 0;
    this.#isWriting = false;
    if (this.#droppedBefore !== undefined && this.#waiting.length < MOST_HELD / 2) {
      const lines = this.dropped - this.#droppedBefore;
      this.#droppedBefore = undefined;
      say(`the log can be written again (${this.#name}); ${lines} lines were dropped`);
    }
    if (this.#onIdle.length > 0) this.#next();
    else this.#nextInPace();
  }

  #fail(error: NodeJS.ErrnoException, lost: string): void {
    this.#failedAt = performance.now();
    this.#isWriting = false;
    this.#drop(lost + this.#batch + this.#waiting, error.code ?? error.message);
    this.#batch = '';
    this.#waiting = '';
    this.#next();
  }

  #drop(lines: string, why: string | undefined): void {
    if (this.#droppedBefore === undefined) {
      this.#droppedBefore = this.dropped;
      say(`log lines are being dropped: ${this.#name} cannot be written (${why})`);
    }
    for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) this.dropped += 1;
  }

  get #name(): string {
    return this.#file ?? 'standard output';
  }
}

/** Where the lines end that have at most that many bytes together; the first line's end where that alone has more. */
function endOfLines(text: string, most: number): number {
  let end = 0;
  for (let bytes = 0; end < text.length; ) {
    const next = text.indexOf('\n', end) + 1 || text.length;
    bytes += Buffer.byteLength(text.slice(end, next));
    if (bytes > most && end > 0) break;
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
function say(text: string): void {
  write(STDERR, `plugin-server: ${text}\n`, null, 'utf8', () => {});
}
