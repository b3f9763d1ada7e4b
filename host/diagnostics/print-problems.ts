import { formatProblem, type Problem } from '../../config/problem.js';

export interface Reason {
  /** A sentence. */
  readonly reason?: string;
  readonly problems: readonly Problem[];
}

/** What came of it and why, for a person at a terminal: each problem in a block of its own, then what it led to. */
export function formatProblems(outcome: string, { reason, problems }: Reason): string {
  const color = process.stderr.isTTY === true && process.env.NO_COLOR === undefined;
  const blocks = problems.map((problem) => `${formatProblem(problem, { color })}\n\n`);
  const why =
    problems.length === 0 ? reason : problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return `${blocks.join('')}plugin-server: ${outcome}: ${why}\n`;
}
