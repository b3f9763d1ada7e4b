import { formatProblem, type Problem } from '../../config/problem.js';

/** What went wrong, for a person at a terminal: each problem in a block of its own, then the sentence. */
export function explain(reason: string, problems: readonly Problem[]): string {
  const color = process.stderr.isTTY === true && process.env.NO_COLOR === undefined;
  const blocks = problems.map((problem) => `${formatProblem(problem, { color })}\n\n`);
  return `${blocks.join('')}plugin-server: ${reason}\n`;
}
