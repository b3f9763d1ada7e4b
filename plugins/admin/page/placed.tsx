import type { PlacedProblem } from '../wire.js';

/** A problem with a file: where, what, what to write instead, and the line with the wrong part marked. */
export function Placed({ problem }: { readonly problem: PlacedProblem }) {
  const { file, line, column, message, hint, source, caret, length } = problem;
  return (
    <div class="placed">
      <p>
        <code class="place">
          {file}:{line}:{column}
        </code>{' '}
        {message}
        {hint !== null && <span class="hint">; {hint}</span>}
      </p>
      {source !== null && (
        <pre>
          <span class="number">{line}</span>
          {source.slice(0, caret)}
          <mark>{source.slice(caret, caret + length) || ' '}</mark>
          {source.slice(caret + length)}
        </pre>
      )}
    </div>
  );
}
