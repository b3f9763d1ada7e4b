/** Where something stands in a file. Line and column count from 1; column counts UTF-16 units, as editors do. */
export interface Position {
  /** Absolute path. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong with the configuration. */
export interface Problem {
  readonly position: Position;
  /** What is wrong: `unknown key "prot" in [network]`. */
  readonly message: string;
  /** What to write instead: `did you mean "port"?`. */
  readonly hint?: string;
  /** The offending line as it stands in the file, secrets masked. */
  readonly source?: string;
  /** How many characters the caret line underlines; 1 when absent. */
  readonly length?: number;
}
