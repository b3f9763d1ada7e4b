import { fileErrors, openapi, ServedFolder, type SetupContext } from 'plugin-server';
import { Pages } from './pages.js';
import { Renderer } from './renderer.js';
import { serve } from './serve.js';
import type { Settings } from './settings.js';

/** Mounts each folder of `[file_server] documents` under its request path. */
export function serveDocuments(
  options: Settings,
  {
    mount,
    resolvePath,
    onClose,
    log,
  }: Pick<SetupContext<unknown, Record<never, never>, never>, 'mount' | 'resolvePath' | 'onClose' | 'log'>,
): void {
  const template = options.template === undefined ? undefined : resolvePath(options.template);
  const renderer = new Renderer();
  onClose(() => renderer.close());
  for (const [index, { route, folder: written }] of options.documents.entries()) {
    const folder = new ServedFolder(resolvePath(written), log);
    const path = `/${route}`;
    const stylesheets = {
      markdown: under(path, options.markdown_css),
      highlight: under(path, options.highlight_css),
    };
    const pages = options.markdown
      ? new Pages(folder, { html: options.markdown_html, template, stylesheets }, renderer, log)
      : undefined;
    mount(path, ['file_server', 'documents', index]).get(
      '/{*path}',
      openapi(operation),
      serve(folder, {
        path,
        index: options.indexfile,
        pages,
        maxAge: options.max_age,
        policy: options.content_security_policy,
      }),
    );
  }
}

const operation = {
  summary: 'A file, or a Markdown file as an HTML page',
  parameters: [{ name: 'path', in: 'path', required: true, schema: { type: 'string' } }],
  responses: {
    200: { description: 'The file', content: { '*/*': {} } },
    206: { description: 'The part of the file that the Range header names' },
    301: { description: 'A folder: its path ends in a slash' },
    304: { description: 'Unchanged since the version that the request names' },
    404: { description: fileErrors.not_found.when },
    412: { description: fileErrors.precondition_failed.when },
    416: { description: fileErrors.range_not_satisfiable.when },
  },
};

/** The absolute path of a stylesheet that is written relative to the served folder. */
function under(path: string, href: string | undefined): string | undefined {
  return href === undefined || /^(\/|https?:)/.test(href) ? href : `${path}/${href}`;
}
