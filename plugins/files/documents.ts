import { openapi, type SetupContext } from 'plugin-server';
import { Folder } from './folder.js';
import { Pages } from './pages.js';
import { serve } from './serve.js';
import type { Settings } from './settings.js';

/** Mounts each folder of `[file_server] documents` under the request path that it names. */
export function serveDocuments(
  options: Settings,
  {
    mount,
    resolvePath,
    log,
  }: Pick<SetupContext<unknown, Record<never, never>, never>, 'mount' | 'resolvePath' | 'log'>,
): void {
  const template = options.template === undefined ? undefined : resolvePath(options.template);
  for (const [index, { route, folder: written }] of options.documents.entries()) {
    const folder = new Folder(resolvePath(written), log);
    const path = `/${route}`;
    const stylesheets = {
      markdown: under(path, options.markdown_css),
      highlight: under(path, options.highlight_css),
    };
    const pages = options.markdown
      ? new Pages(folder, { html: options.markdown_html, template, stylesheets }, log)
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
    206: { description: 'The part of the file that the Range header asks for' },
    301: { description: 'A folder: ask again with a slash at the end' },
    304: { description: 'Not changed since the version that the request names' },
    404: { description: 'There is no such file' },
    416: { description: 'The file is shorter than the range asked for' },
  },
};

/** A stylesheet's path as written, relative to the served folder, as an absolute one. */
function under(path: string, href: string | undefined): string | undefined {
  return href === undefined || /^(\/|https?:)/.test(href) ? href : `${path}/${href}`;
}
