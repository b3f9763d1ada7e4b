import { useState } from 'preact/hooks';
import type { SessionEntry } from '../wire.js';
import { moment, relative } from './format.js';
import type { Server } from './server.js';

interface Found {
  readonly userid: string;
  readonly sessions: readonly SessionEntry[];
}

/** One user's sessions: on which devices, when they were made and used, and the means to end them. */
export function Sessions({ server, available }: { readonly server: Server; readonly available: boolean }) {
  const [found, setFound] = useState<Found | undefined>();
  const [message, setMessage] = useState('');
  const [sure, setSure] = useState(false);
  const [busy, setBusy] = useState(false);

  const attempt = async (work: () => Promise<string>) => {
    setBusy(true);
    setSure(false);
    try {
      setMessage(await work());
    } catch (error) {
      setMessage((error as Error).message);
    }
    setBusy(false);
  };
  const list = async (of: string) => {
    const { sessions } = await server.listSessions(of);
    setFound({ userid: of, sessions });
    return sessions;
  };
  const search = (event: SubmitEvent) => {
    event.preventDefault();
    const userid = String(new FormData(event.currentTarget as HTMLFormElement).get('userid'));
    attempt(async () => {
      const sessions = await list(userid);
      return sessions.length === 0 ? `${userid} has no sessions.` : '';
    });
  };
  const end = (of: string, handle: string) =>
    attempt(async () => {
      await server.endSession(of, handle);
      await list(of);
      return 'Session ended.';
    });
  const endAll = (of: string) =>
    attempt(async () => {
      const { ended } = await server.endAllSessions(of);
      await list(of);
      return `${count(ended)} ended.`;
    });

  if (!available) {
    return (
      <>
        <div class="head">
          <h1 tabIndex={-1}>Sessions</h1>
        </div>
        <section class="panel">
          <p class="empty">This server runs without sessman, the session manager.</p>
        </section>
      </>
    );
  }
  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Sessions</h1>
        <form class="search" onSubmit={search}>
          <input
            type="search"
            name="userid"
            placeholder="User id"
            aria-label="User id"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            required
          />
          <button type="submit" class="primary" disabled={busy}>
            Show
          </button>
        </form>
      </div>
      <p class="said" role="status">
        {message}
      </p>
      {found === undefined && (
        <section class="panel">
          <p class="empty">Enter the user id that the application passes to sessman.</p>
        </section>
      )}
      {found !== undefined && found.sessions.length > 0 && (
        <section class="panel">
          <header>
            <h2>
              {found.userid} <span class="muted">{count(found.sessions.length)}</span>
            </h2>
            {sure ? (
              <span class="sure">
                <button type="button" class="danger" disabled={busy} onClick={() => endAll(found.userid)}>
                  Yes, end {found.sessions.length === 1 ? 'it' : `all ${found.sessions.length}`}
                </button>
                <button type="button" onClick={() => setSure(false)}>
                  No
                </button>
              </span>
            ) : (
              <button type="button" class="danger" disabled={busy} onClick={() => setSure(true)}>
                End all
              </button>
            )}
          </header>
          <SessionTable found={found} busy={busy} end={end} />
        </section>
      )}
      <p class="aside">
        Each session is listed by its handle. The server does not know the session's id, which grants access.
        This page does not show the session's data.
      </p>
    </>
  );
}

/** So many rows at first, and more at each request. */
const PAGE = 100;

function SessionTable({
  found,
  busy,
  end,
}: {
  readonly found: Found;
  readonly busy: boolean;
  readonly end: (userid: string, handle: string) => void;
}) {
  const [rows, setRows] = useState(PAGE);
  const hidden = found.sessions.length - rows;
  return (
    <>
      <table class="sessions">
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">Created</th>
            <th scope="col">Last used</th>
            <th scope="col">Expires</th>
            <td />
          </tr>
        </thead>
        <tbody>
          {found.sessions.slice(0, rows).map(({ handle, created_at, used_at, expires_at, ...device }) => (
            <tr key={handle}>
              <th scope="row">
                <code>{handle}</code>
                <Device {...device} />
              </th>
              <Moment label="Created" time={created_at} />
              <Moment label="Last used" time={used_at} />
              <Moment label="Expires" time={expires_at} />
              <td class="action">
                <button
                  type="button"
                  disabled={busy}
                  aria-label={`End session ${handle}`}
                  onClick={() => end(found.userid, handle)}
                >
                  End
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {hidden > 0 && (
        <p class="more">
          <button type="button" onClick={() => setRows(rows + PAGE)}>
            Show {Math.min(hidden, PAGE)} more of {hidden.toLocaleString('en')}
          </button>
        </p>
      )}
    </>
  );
}

/** What is known of a session's device, a line each. */
function Device({ about, ip, user_agent }: Pick<SessionEntry, 'about' | 'ip' | 'user_agent'>) {
  const lines = [
    ...Object.entries(about ?? {}).map(
      ([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ),
    ip,
    user_agent,
    about === null && 'encrypted with another key',
  ].filter(Boolean);
  return lines.map((line) => (
    <div key={line} class="muted">
      {line}
    </div>
  ));
}

function Moment({ label, time }: { readonly label: string; readonly time: string }) {
  const at = Date.parse(time);
  return (
    <td data-label={label}>
      <time dateTime={time} title={moment(at)}>
        {relative(at, Date.now())}
      </time>
    </td>
  );
}

function count(sessions: number): string {
  return sessions === 1 ? '1 session' : `${sessions.toLocaleString('en')} sessions`;
}
