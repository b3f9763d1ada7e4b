import { useState } from 'preact/hooks';
import type { Refusal } from './server.js';

/** Asks for the global key; where the server has none, says how to give it one. */
export function SignIn({ why, onKey }: { readonly why: Refusal; readonly onKey: (key: string) => void }) {
  return (
    <main class="sign-in">
      <section class="panel">
        <p class="brand">
          <img src="icon.svg" alt="" width="28" height="28" />
          plugin-server
        </p>
        {why === 'no_global_key' ? <NoKey onAgain={() => onKey('')} /> : <KeyForm why={why} onKey={onKey} />}
      </section>
    </main>
  );
}

function KeyForm({ why, onKey }: { readonly why: Refusal; readonly onKey: (key: string) => void }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onKey(String(new FormData(event.currentTarget as HTMLFormElement).get('key')));
  };
  return (
    <form onSubmit={submit}>
      <h1>Sign in</h1>
      <label for="key">Global API key</label>
      <input
        id="key"
        name="key"
        type="password"
        autocomplete="off"
        required
        autofocus
        aria-describedby="key-note"
        aria-invalid={why === 'wrong_key'}
      />
      <p
        id="key-note"
        class={why === 'wrong_key' ? 'wrong' : 'muted'}
        role={why === 'wrong_key' ? 'alert' : undefined}
      >
        {why === 'wrong_key' ? (
          'The server does not accept this key.'
        ) : (
          <>
            The <code>apikey</code> in <code>[auth]</code> of the INI file. This tab keeps the key until you
            close it.
          </>
        )}
      </p>
      <button type="submit" class="primary">
        Sign in
      </button>
    </form>
  );
}

function NoKey({ onAgain }: { readonly onAgain: () => void }) {
  const [key] = useState(randomKey);
  return (
    <>
      <h1>No global key yet</h1>
      <p>
        This page requires the server's global API key, and none is set. Add a key to the INI file, such as
        this new one:
      </p>
      <pre>{`[auth]\napikey=${key}`}</pre>
      <p>
        Then run <code>plugin-server reload</code>, or restart the server. Every plugin whose{' '}
        <code>auth_type</code> is <code>global</code> then requires the key, too.
      </p>
      <button type="button" class="primary" onClick={onAgain}>
        Try again
      </button>
    </>
  );
}

/** 192 random bits. */
function randomKey(): string {
  const text = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)));
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_');
}
