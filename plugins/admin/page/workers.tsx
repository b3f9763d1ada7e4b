import type { Workers } from '../wire.js';
import { moment, relative } from './format.js';
import { Placed } from './placed.js';

const TONES = { starting: 'warn', serving: 'good', draining: 'warn' } as const;

/** The processes, the newest generation first. */
export function WorkerTable({ workers }: Pick<Workers, 'workers'>) {
  return (
    <section class="panel">
      <header>
        <h2>Workers</h2>
      </header>
      <table class="figures">
        <thead>
          <tr>
            <th scope="col">Process</th>
            <th scope="col">State</th>
            <th scope="col">Generation</th>
            <th scope="col">Connections</th>
          </tr>
        </thead>
        <tbody>
          {workers
            .toSorted((a, b) => b.generation - a.generation)
            .map(({ pid, state, generation, connections, forOperators }) => (
              <tr key={pid}>
                <th scope="row">
                  {pid}
                  {forOperators && <span class="muted"> admin address</span>}
                </th>
                <td>
                  <span class={`chip ${TONES[state]}`}>{state}</span>
                </td>
                <td>{generation}</td>
                <td>{connections.toLocaleString('en')}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}

/** Who may ask for a reload, where the server's word alone does not say it. */
const ASKERS: Readonly<Record<string, string>> = {
  command: 'the reload command',
  watch: 'a changed file',
  http: 'an HTTP request',
  program: 'a plugin or program',
};

export function LastReload({ reload }: { readonly reload: Workers['lastReload'] }) {
  return (
    <section class="panel">
      <header>
        <h2>Last reload</h2>
      </header>
      {reload === null ? (
        <p class="empty">No reload since the server started.</p>
      ) : (
        <Reload reload={reload} />
      )}
    </section>
  );
}

function Reload({ reload }: { readonly reload: NonNullable<Workers['lastReload']> }) {
  const { time, askedBy, success, reason, problem } = reload;
  return (
    <div class="reload">
      <p class="what">
        <span class={`chip ${success ? 'good' : 'bad'}`}>{success ? 'ok' : 'failed'}</span>
        <strong>{reason ?? 'The new configuration and code are in force.'}</strong>
      </p>
      <p class="where">
        <time dateTime={new Date(time).toISOString()} title={moment(time)}>
          {relative(time, Date.now())}
        </time>
        <span>by {askedBy.map((by) => ASKERS[by] ?? by).join(', ')}</span>
      </p>
      {problem !== null && <Placed problem={problem} />}
    </div>
  );
}
