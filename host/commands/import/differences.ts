/** Something that behaves differently from the Python server. */
export interface Difference {
  /** The subject, for the table in docs/migrating.md. */
  readonly about: string;
  readonly before: string;
  readonly now: string;
  /** What to do about it, as an imperative; absent where there is nothing to do. */
  readonly remedy?: string;
}

/** All of them. The table in docs/migrating.md is generated from them. */
export const differences = {
  // Keys and access
  open_plugin: {
    about: 'a plugin without `auth_type`',
    before: 'open to everybody',
    now: 'requires the key in `[auth]`, if one is set',
    remedy: 'write `auth_type=none` to leave it open',
  },
  auth_ignored: {
    about: '`auth=` in a line of `[plugin_parms]`',
    before: 'ignored: only `auth_type` counted, and the plugin was open',
    now: 'the same as `auth_type`',
    remedy: 'write `auth_type=none` to leave it open',
  },
  no_key: {
    about: 'no `[auth] apikey`',
    before: '`/plugins` and `/reload` were open to everybody',
    now: 'they respond 403; other paths respond only under `localhost` and IP addresses',
    remedy: 'set a key in `[auth]`, and list the names of the server in `[network] hosts`',
  },
  status_401: {
    about: 'a missing or wrong key',
    before: '403',
    now: '401, with `WWW-Authenticate`',
    remedy: 'expect 401 in clients that check the status',
  },
  control_answers: {
    about: 'the responses of `/plugins` and `/reload/all`',
    before: '`loaded_plugins`, and `status`',
    now: '`plugins`, with the state of each; `reloaded` and `success`. A reload reads everything again, and changes nothing if anything is wrong',
    remedy: 'update the programs that read them',
  },
  // Values
  bool_false: {
    about: '`bool:` with any word but `true`, `enabled`, `enable`, `on` or `1` in lower case',
    before: 'false, even `bool:yes` and `bool:True`',
    now: 'written as `bool:false`; `yes` and `True` would be true',
  },
  text_enabled: {
    about: '`[SSL] enabled=false`, without `bool:`',
    before: 'text, and every text counted as true',
    now: 'false',
    remedy: 'write `enabled=true` if the server used TLS',
  },
  ssl_case: {
    about: 'a section `[ssl]` that is not written `[SSL]`',
    before: 'ignored',
    now: 'read: names of sections are not case-sensitive',
    remedy: 'write `enabled=false` in it to serve without TLS',
  },
  cors_enabled: {
    about: '`[cors] enabled` with a false value',
    before: 'CORS was on as soon as the key was there',
    now: 'CORS is off',
    remedy: 'write `enabled=true` to leave it on',
  },
  cors_credentials: {
    about: '`[cors]`',
    before: 'pages of other origins sent cookies',
    now: 'they do so only to plugins that allow it, such as sessman with `cookie_origins`',
  },
  environment: {
    about: `\`\${ENV:NAME}\` of a variable that is not set`,
    before: 'empty',
    now: 'a problem that stops the start',
    remedy: `set it, or write \`\${ENV:NAME:-default}\``,
  },
  joined: {
    about: 'a value that continues on the next lines',
    before: 'one value with line breaks',
    now: 'one line, joined with blanks',
  },
  defaults: {
    about: '`[DEFAULT]`',
    before: 'its keys were part of every section',
    now: 'a section like any other',
    remedy: `refer to them as \`\${DEFAULT:key}\``,
  },
  unknown_key: {
    about: 'a key that the server does not know, in one of its own sections',
    before: 'a free value',
    now: 'a mistake, so it is commented out; if other values refer to it, it moves to `[imported]`',
  },
  relative_path: {
    about: 'a relative path',
    before: 'relative to the folder in which the server was started',
    now: 'relative to the INI file',
    remedy: 'keep the INI file in the folder in which the server was started, or correct the path',
  },
  // Parameters of plugins
  decoded: {
    about: '`%XX` and `+` in parameters of plugins',
    before: 'decoded, as in a query string',
    now: 'literal, so the value is written decoded',
  },
  ampersand: {
    about: '`%26` in parameters of plugins',
    before: 'an `&` in the value',
    now: 'literal; an `&` begins the next parameter',
    remedy: `put the value in \`[main]\`, and refer to it as \`\${main:key}\``,
  },
  typed: {
    about: '`int:`, `float:`, `bool:` and `list:` within parameters of plugins',
    before: 'part of the text',
    now: 'conversions',
    remedy: 'remove them from values that are text',
  },
  python_plugin: {
    about: 'a Python plugin',
    before: 'loaded from the plugins folder',
    now: 'not loaded, and its line is commented out: plugins are TypeScript or JavaScript',
    remedy: 'rewrite it as docs/plugins.md shows, and uncomment its line',
  },
  dropped_parameter: {
    about: 'a parameter that the included plugin no longer has',
    before: 'read by the plugin',
    now: 'left out',
  },
  // The included plugins
  documents: {
    about: '`[paths] documents`',
    before: 'the folder to serve, in older versions',
    now: 'moved to `[file_server] documents`',
  },
  common_log: {
    about: '`[file_server] common_log` and `log_includes`',
    before: 'a log file in the Common Log Format',
    now: 'commented out: the server logs every request',
  },
  markdown_envelope: {
    about: '`[file_server] markdown_envelope`',
    before: 'an HTML file with `{title}` and `{mdhtml}`',
    now: 'commented out: `template` names an HTML file with `{{title}}` and `{{content}}`',
    remedy: 'change the file, and name it in `template`',
  },
  file_variables: {
    about: 'variables in served files',
    before: '`@TIME=…@` and `@FILETIME=…@`; variables in HTML files; includes from anywhere',
    now: '`@TITLE=…@` and `@INCLUDE=…@` in Markdown only; includes from the served folder only',
  },
  systeminfo_names: {
    about: 'the responses of `/systeminfo`',
    before: 'text such as `1.2mbps`, with `info` and `upgrades`',
    now: 'numbers under other names, without `info` and `upgrades`',
    remedy: 'update the programs that read them; docs/systeminfo.md lists the names',
  },
  session_cookie: {
    about: 'the cookie `PS_SESSID`',
    before: 'set by each `new`',
    now: 'neither set nor read; with `cookie` in sessman.json, a cookie that HTTPS names `__Host-PS_SESSID`',
    remedy: 'see docs/sessman.md if browsers used it',
  },
  session_get: {
    about: '`GET /sessman/new` and `/sessman/update`',
    before: 'accepted',
    now: '405: they change data, so they require POST',
  },
  session_address: {
    about: 'a session and the address of its client',
    before: 'a session could be read only from the address that created it',
    now: 'from any address; the parameter `userid` protects it',
  },
  stored_sessions: {
    about: 'stored sessions',
    before: 'documents of MongoDB, or a SQLite file',
    now: 'not read',
    remedy:
      'move those of a SQLite file as docs/migrating.md shows. Set another `database` or `collection` if it is the same MongoDB; its users have to log in once more',
  },
  sqlite: {
    about: '`backend=sqlite`',
    before: 'sessions in a SQLite file, named by `database`',
    now: 'the embedded store, below `[paths] data`',
    remedy: 'move the sessions as docs/migrating.md shows; remove `backend` and `database`',
  },
  vacuum_interval: {
    about: '`vacuum_interval` of sessman',
    before: 'seconds between two searches for expired sessions',
    now: 'unknown: expired sessions are never returned, and are removed in the background',
    remedy: 'remove it',
  },
} as const satisfies Record<string, Difference>;

export type DifferenceName = keyof typeof differences;
