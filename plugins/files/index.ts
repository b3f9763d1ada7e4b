import { definePlugin } from 'plugin-server';
import { checkPaths } from './check.js';
import { settings } from './settings.js';

/** Serves each folder of `[file_server] documents` under its request path. */
export default definePlugin({
  sections: { file_server: settings },

  check: ({ sections, ...context }) => checkPaths(sections.file_server, context),

  async setup({ sections, ...context }) {
    if (sections.file_server.documents.length === 0) return;
    // Loaded only when there is something to serve.
    const { serveDocuments } = await import('./documents.js');
    serveDocuments(sections.file_server, context);
  },
});
