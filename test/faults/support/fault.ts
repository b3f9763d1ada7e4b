/** One way of things going wrong, and what must hold nevertheless. */
export interface Fault {
  /** For `--only`. */
  readonly name: string;
  /** What is done, for the table. */
  readonly title: string;
  /** Takes an hour or so: it is run only by name, and what was seen goes into the table of long runs, with its date. */
  readonly isLong?: boolean;
  run(scale: Scale): Promise<Outcome>;
}

/** How much is done: `full(200, 10)` is 200, and 10 with `--quick`. */
export type Scale = (full: number, quick: number) => number;

/** What was seen. What a fault has nothing to say of is left out. */
export interface Outcome {
  /** How often, in what unit: `200 kills`. */
  readonly times: string;
  /** Writes that were answered with success. */
  readonly acknowledged?: number;
  /** Of these, those whose effect was gone afterwards. */
  readonly lost?: number;
  /** Answers that were neither right nor an honest refusal. */
  readonly wrong?: number;
  /** Milliseconds until the slowest answer. */
  readonly slowest?: number;
  /** Milliseconds from the end of the fault until everything worked again, the longest. */
  readonly recovery?: number;
  /** What else there is to say. */
  readonly notes?: readonly string[];
  /** What did not hold; empty when all did. */
  readonly failures: readonly string[];
}

/** Collects what did not hold. */
export class Verdict {
  /** Off in a quick run, which shows what is lost or wrong: how fast things are says nothing on a busy machine. */
  static judgesSpeed = true;
  readonly failures: string[] = [];

  expect(holds: boolean, failure: string): void {
    if (!holds && !this.failures.includes(failure)) this.failures.push(failure);
  }

  /** The same for what depends on the speed of the machine. */
  expectSpeed(holds: boolean, failure: string): void {
    this.expect(holds || !Verdict.judgesSpeed, failure);
  }

  /** Milliseconds that must be at most `limit`. */
  atMost(what: string, value: number, limit: number): void {
    this.expectSpeed(value <= limit, `${what}: ${Math.round(value)} ms, more than ${limit}`);
  }
}
