import { formatProblem, type Problem } from '../../config/problem.js';

export interface Reason {
  /** A sentence. */
  readonly reason?: string;
  readonly problems: readonly Problem[];
}

/** The outcome and its reasons, for a terminal: a block for each problem, then what they led to. */
export function formatProblems(outcome: string, { reason, problems }: Reason): string {
  const color = process.stderr.isTTY === true && process.env.NO_COLOR === undefined;
  const blocks = problems.map((problem) => `${formatProblem(problem, { color })}\n\n`);
  const why =
    problems.length === 0 ? reason : problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return `${blocks.join('')}plugin-server: ${outcome}: ${why}\n`;
}
