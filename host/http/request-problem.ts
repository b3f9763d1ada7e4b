import { locateError } from '../diagnostics/locate.js';
import { shownPath } from '../diagnostics/placed-problem.js';
import { messageOf } from '../kit/deadline.js';
import { HttpError } from '../kit/http-error.js';
import type { ServerProblem } from '../kit/server-view.js';
import type { Failure } from './application.js';
import { statusAnswer } from './error-answer.js';
import { maskTokens } from './loggable-path.js';

const LONGEST = 500;

export interface Surroundings {
  /** Of the INI file: paths are shown relative to it. */
  readonly folder: string;
  /** The place in a plugin's code; undefined for the host and for bundled plugins. */
  readonly codeOf: (plugin: string) => string | undefined;
}

/** A 5xx response as a problem for the operator: without a stack, a token, or a path of this machine. */
export function requestProblem(failure: Failure, { folder, codeOf }: Surroundings): ServerProblem {
  const { method, status, requestId, route, error } = failure;
  const now = Date.now();
  const code = route === undefined ? undefined : codeOf(route.plugin);
  const position = code === undefined ? undefined : locateError(error, code);
  return {
    kind: 'request',
    message: maskTokens(sentence(error, status).replaceAll(`${folder}/`, '')).slice(0, LONGEST),
    first: now,
    last: now,
    times: 1,
    method,
    status,
    ...(route !== undefined && route.plugin !== '' && { plugin: route.plugin, route: route.route }),
    code: error instanceof HttpError ? error.code : statusAnswer(status).body.code,
    requestIds: [requestId],
    ...(position !== undefined && {
      place: `${shownPath(position.file, folder)}:${position.line}:${position.column}`,
    }),
  };
}

function sentence(error: unknown, status: number): string {
  if (error === undefined) return `The response had status ${status}.`;
  if (!(error instanceof HttpError)) return firstLine(error);
  return error.cause === undefined ? error.message : `${error.message} (${firstLine(error.cause)})`;
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n')[0]!;
}
