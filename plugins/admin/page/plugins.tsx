import { useState } from 'preact/hooks';
import type { Plugin, ReloadAnswer } from '../wire.js';
import { seconds } from './format.js';
import { Placed } from './placed.js';
import type { Server, ServerState } from './server.js';

type Reload =
  | { readonly state: 'idle' }
  | { readonly state: 'running' }
  | { readonly state: 'done'; readonly took: number; readonly answer: ReloadAnswer }
  | { readonly state: 'failed'; readonly message: string };

/** The plugins, and the button that reads them all anew. */
export function Plugins({ server, state }: { readonly server: Server; readonly state: ServerState }) {
  const [reload, setReload] = useState<Reload>({ state: 'idle' });
  const run = async () => {
    setReload({ state: 'running' });
    const began = performance.now();
    try {
      const answer = await server.reload();
      setReload({ state: 'done', took: (performance.now() - began) / 1000, answer });
    } catch (error) {
      setReload({ state: 'failed', message: (error as Error).message });
    }
  };
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Plugins</h1>
        <button type="button" class="primary" disabled={reload.state === 'running'} onClick={run}>
          {reload.state === 'running' ? 'Reloading…' : 'Reload'}
        </button>
      </div>
      <div aria-live="polite">
        <Outcome reload={reload} />
      </div>
      <ul class="plugins">
        {state.plugins
          .toSorted((a, b) => a.name.localeCompare(b.name))
          .map((plugin) => (
            <PluginItem
              key={plugin.name}
              plugin={plugin}
              requests={state.traffic?.[plugin.name]?.requests ?? 0}
            />
          ))}
      </ul>
      <p class="aside">
        A reload reads the configuration and the code of every plugin again. The old ones serve until the new
        ones are ready, and continue to serve if the reload fails.
      </p>
    </>
  );
}

function Outcome({ reload }: { readonly reload: Reload }) {
  if (reload.state === 'failed') {
    return (
      <section class="panel outcome bad">
        <h2>The reload request failed</h2>
        <p>{reload.message}</p>
      </section>
    );
  }
  if (reload.state !== 'done') return null;
  const { answer, took } = reload;
  if (answer.success) {
    return (
      <section class="panel outcome good">
        <h2>Reloaded in {seconds(took)}</h2>
        <p>The new configuration and code are in force.</p>
      </section>
    );
  }
  return (
    <section class="panel outcome bad">
      <h2>Not reloaded</h2>
      <p>{answer.reason} The server continues unchanged.</p>
      {answer.problems.map((problem) => (
        <Placed
          key={`${problem.file}:${problem.line}:${problem.column} ${problem.message}`}
          problem={problem}
        />
      ))}
    </section>
  );
}

const KEYS: Record<Plugin['auth'], string> = {
  global: 'global',
  plugin: 'its own',
  none: 'none',
  own: 'by route',
};

function PluginItem({ plugin, requests }: { readonly plugin: Plugin; readonly requests: number }) {
  const { name, uses, version, path, auth, bundled, configuredAt, problem, checks } = plugin;
  const { label, tone } = health(plugin);
  const failing = Object.entries(checks).filter(([, result]) => result !== 'ok');
  const rows = configurationRows(plugin);
  return (
    <li class="panel">
      <div class="plugin">
        <h2>{name}</h2>
        <span class={`chip ${tone}`}>{label}</span>
        <dl class="facts">
          <div>
            <dt>Path</dt>
            <dd>
              <code>{path}</code>
            </dd>
          </div>
          <div>
            <dt>Version</dt>
            <dd>
              {version}
              {bundled && <span class="muted"> bundled</span>}
              {uses !== null && <span class="muted"> uses {uses}</span>}
            </dd>
          </div>
          <div>
            <dt>Key</dt>
            <dd class={auth === 'none' ? 'warn' : ''}>{KEYS[auth]}</dd>
          </div>
          <div class="rate">
            <dt>Responses</dt>
            <dd>{requests.toLocaleString('en')}/s</dd>
          </div>
        </dl>
      </div>
      {problem !== null && <Placed problem={problem} />}
      {failing.map(([check, result]) => (
        <p key={check} class="check">
          <strong>{check}</strong> {result}
        </p>
      ))}
      {rows.length > 0 && (
        <details>
          <summary>
            Configuration
            {configuredAt !== null && <code class="configured">{configuredAt}</code>}
          </summary>
          <table class="settings">
            <tbody>
              {rows.map(([key, value]) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td>
                    <code>{value}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </li>
  );
}

/** What the state and the checks come to. */
function health({ state, checks }: Plugin): { label: string; tone: string } {
  if (state === 'failed') return { label: 'failed', tone: 'bad' };
  if (state !== 'ready') return { label: state.replace('_', ' '), tone: 'warn' };
  return Object.values(checks).every((result) => result === 'ok')
    ? { label: 'ready', tone: 'good' }
    : { label: 'not ready', tone: 'bad' };
}

/** As it is written: `user`, `hosts.0`, `[file_server] documents`. */
function configurationRows({ parameters, sections }: Plugin): [key: string, value: string][] {
  return [
    ...flatten(parameters, ''),
    ...Object.entries(sections).flatMap(([name, section]) => flatten(section, `[${name}] `)),
  ];
}

function flatten(value: unknown, key: string): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[key, String(value)]];
  return Object.entries(value).flatMap(([name, inner]) =>
    flatten(inner, key === '' || key.endsWith(' ') ? key + name : `${key}.${name}`),
  );
}
