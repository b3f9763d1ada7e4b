import { definePlugin } from 'plugin-server';
import { checkPaths } from './check.js';
import { settings } from './settings.js';

/** Serves folders of files: each of `[file_server] documents` under the request path that it names. */
export default definePlugin({
  sections: { file_server: settings },

  check: ({ sections, ...context }) => checkPaths(sections.file_server, context),

  async setup({ sections, ...context }) {
    if (sections.file_server.documents.length === 0) return;
    // Loaded only where there is something to serve.
    const { serveDocuments } = await import('./documents.js');
    serveDocuments(sections.file_server, context);
  },
});
