import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { duration } from './format.js';
import { Overview } from './overview.js';
import { Plugins } from './plugins.js';
import { Problems } from './problems.js';
import { useView, VIEWS, type View } from './route.js';
import { type Refusal, Server, type ServerState } from './server.js';
import { Sessions } from './sessions.js';
import { SignIn } from './sign-in.js';
import { type Theme, useTheme } from './theme.js';

const KEY = 'plugin-server-key';

/** Either the server refused the key, or there is one to follow it with: none, to ask what it wants, at first. */
type Phase = { readonly at: 'door'; readonly why: Refusal } | { readonly at: 'inside'; readonly key: string };

/** The whole page: the sign-in, or the server once the key is known. The key lives as long as the tab. */
export function App() {
  const [theme, toggleTheme] = useTheme();
  const [phase, setPhase] = useState<Phase>(() => ({ at: 'inside', key: sessionStorage.getItem(KEY) ?? '' }));
  const [server, setServer] = useState<Server | undefined>();
  const [state, setState] = useState<ServerState | undefined>();

  useEffect(() => {
    if (phase.at === 'door') return;
    const followed = new Server(
      phase.key,
      () => setState(followed.state),
      (why) => {
        sessionStorage.removeItem(KEY);
        setPhase({ at: 'door', why });
      },
    );
    setServer(followed);
    setState(followed.state);
    followed.follow();
    return () => followed.close();
  }, [phase]);

  if (phase.at === 'door') {
    const enter = (key: string) => {
      sessionStorage.setItem(KEY, key);
      setState(undefined);
      setPhase({ at: 'inside', key });
    };
    return <SignIn why={phase.why} onKey={enter} />;
  }
  if (server === undefined || state?.hello === undefined) {
    return (
      <main class="sign-in">
        <p class="muted" role="status">
          Connecting…
        </p>
      </main>
    );
  }
  const signOut = () => {
    sessionStorage.removeItem(KEY);
    setPhase({ at: 'door', why: 'key_required' });
  };
  return <Shell {...{ server, state, theme, toggleTheme, signOut }} />;
}

interface ShellProps {
  readonly server: Server;
  readonly state: ServerState;
  readonly theme: Theme;
  readonly toggleTheme: () => void;
  readonly signOut: () => void;
}

const TITLES: Record<View, string> = {
  overview: 'Overview',
  plugins: 'Plugins',
  sessions: 'Sessions',
  problems: 'Problems',
};

function Shell({ server, state, theme, toggleTheme, signOut }: ShellProps) {
  const view = useView();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${TITLES[view]} · plugin-server`;
    // Whoever follows a link with the keyboard goes on from the view's heading; not so when the page has just come up.
    if (!first.current) main.current?.querySelector('h1')?.focus();
    first.current = false;
  }, [view]);
  const views: Record<View, () => ComponentChildren> = {
    overview: () => <Overview state={state} theme={theme} />,
    plugins: () => <Plugins server={server} state={state} />,
    sessions: () => <Sessions server={server} available={state.hello?.hasSessions === true} />,
    problems: () => <Problems problems={state.problems} />,
  };
  const troubled = state.plugins.filter(
    (plugin) => plugin.state !== 'ready' || Object.values(plugin.checks).some((result) => result !== 'ok'),
  ).length;
  const badges: Partial<Record<View, number>> = { plugins: troubled, problems: state.problems.length };
  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => main.current?.querySelector('h1')?.focus()}>
        Skip to content
      </button>
      <header class="bar">
        <p class="brand">
          <img src="icon.svg" alt="" width="22" height="22" />
          plugin-server
        </p>
        <nav aria-label="Views">
          {VIEWS.map((each) => (
            <a key={each} href={`#/${each}`} aria-current={each === view ? 'page' : undefined}>
              {TITLES[each]}
              {(badges[each] ?? 0) > 0 && <span class="badge">{badges[each]}</span>}
            </a>
          ))}
        </nav>
        <div class="tools">
          <button type="button" class="quiet" onClick={toggleTheme}>
            {theme === 'dark' ? 'Light' : 'Dark'}
          </button>
          <button type="button" class="quiet" onClick={signOut}>
            Sign out
          </button>
        </div>
      </header>
      <StatusLine state={state} />
      <main id="main" ref={main}>
        {views[view]()}
      </main>
    </div>
  );
}

function StatusLine({ state }: { readonly state: ServerState }) {
  const { connection, hello, samples } = state;
  const latest = samples.at(-1);
  return (
    <div class="status">
      <span class={`live ${connection}`} role="status">
        {connection === 'live' ? 'Live' : 'Connection lost, reconnecting…'}
      </span>
      <span>Version {hello!.version}</span>
      <span>
        Up {duration((latest?.time ?? Date.now()) - hello!.startedAt)}{' '}
        <span class="muted">since the start or last reload</span>
      </span>
      {latest !== undefined && (
        <span>
          {latest.processes} {latest.processes === 1 ? 'process' : 'processes'}
        </span>
      )}
    </div>
  );
}
