import { useState } from 'preact/hooks';
import type { Problem } from '../wire.js';
import { moment, relative } from './format.js';
import { Placed } from './placed.js';

/** What went wrong of late. */
export function Problems({ problems }: { readonly problems: readonly Problem[] }) {
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const found = wanted === '' ? problems : problems.filter((problem) => matches(problem, wanted));
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Problems</h1>
        <input
          type="search"
          class="filter"
          placeholder="Request id, plugin, text"
          aria-label="Filter problems by request id, plugin or text"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </div>
      <section class="panel">
        {problems.length > 0 && found.length === 0 ? (
          <p class="empty">No problem matches “{text.trim()}”.</p>
        ) : (
          <ProblemList problems={found} />
        )}
      </section>
      <p class="aside">
        The latest 200 problems since the server started: 5xx responses, failed reloads and lost workers. To
        find the log lines of a request, search the log for its id.
      </p>
    </>
  );
}

export function ProblemList({
  problems,
  brief = false,
}: {
  readonly problems: readonly Problem[];
  readonly brief?: boolean;
}) {
  if (problems.length === 0) return <p class="empty">Nothing has gone wrong.</p>;
  const now = Date.now();
  return (
    <ol class="problems">
      {problems.map((problem) => (
        <li key={problem.id}>
          <p class="what">
            <span class={`chip ${problem.status === undefined || problem.status === 500 ? 'bad' : 'warn'}`}>
              {problem.status ?? problem.kind}
            </span>
            <strong>{problem.message}</strong>
          </p>
          <p class="where">
            {problem.method !== undefined && (
              <code>
                {problem.method} {problem.route || 'no route'}
              </code>
            )}
            {problem.place !== undefined && <code class="place">{problem.place}</code>}
            <time dateTime={new Date(problem.last).toISOString()} title={moment(problem.last)}>
              {relative(problem.last, now)}
            </time>
            {problem.times > 1 && (
              <span>
                {problem.times.toLocaleString('en')} times since {relative(problem.first, now)}
              </span>
            )}
          </p>
          {!brief && problem.requestIds !== undefined && (
            <p class="ids">
              <span>Request {problem.requestIds.length > 1 ? 'ids' : 'id'}</span>
              {problem.requestIds.map((id) => (
                <code key={id}>{id}</code>
              ))}
            </p>
          )}
          {!brief && problem.problems?.map((placed) => <Placed key={keyOf(placed)} problem={placed} />)}
        </li>
      ))}
    </ol>
  );
}

function keyOf({
  file,
  line,
  column,
  message,
}: {
  file: string;
  line: number;
  column: number;
  message: string;
}) {
  return `${file}:${line}:${column} ${message}`;
}

function matches(problem: Problem, text: string): boolean {
  const { message, plugin = '', route = '', code = '', place = '', requestIds = [] } = problem;
  return [message, plugin, route, code, place, ...requestIds].some((part) =>
    part.toLowerCase().includes(text),
  );
}
