import { basename } from 'node:path';
import { boolean, integer, list, text, z } from 'plugin-server';

/** A folder and the first part of the request paths that it answers: `html` for /html. */
export interface Documents {
  readonly route: string;
  /** As written: relative to the INI file. */
  readonly folder: string;
}

/** `[file_server]` */
export const settings = z.object({
  documents: z
    .union([text().transform((one) => [one]), z.array(text())])
    .transform((all, context) => parseAll(all, context))
    .default([])
    .describe(
      'what is served: PATH:FOLDER, or several with `list:`; without PATH, under the name of the folder',
    ),
  indexfile: list(text())
    .default(['index.html', 'index.md'])
    .describe('the file that answers for a folder; of several, the first that is there'),
  markdown: boolean().default(true).describe('show Markdown files as HTML pages rather than as text'),
  markdown_html: boolean()
    .default(false)
    .describe('let HTML in Markdown files through; scripts in it never run'),
  template: text()
    .optional()
    .describe('a file with `{{title}}` and `{{content}}`, in place of the built-in page'),
  markdown_css: text()
    .optional()
    .describe('a stylesheet, relative to the served folder, for the built-in page'),
  highlight_css: text()
    .optional()
    .describe('a stylesheet, relative to the served folder, for code (highlight.js)'),
  max_age: integer({ min: 0 }).default(0).meta({
    description: 'how long browsers may use a file without asking again; 0: they ask, and mostly get a 304',
    unit: 'seconds',
  }),
  content_security_policy: text()
    .optional()
    .describe('the Content-Security-Policy of every answer, in place of those made for pages'),
});

export type Settings = z.output<typeof settings>;

function parseAll(all: readonly string[], context: z.RefinementCtx): Documents[] {
  const documents = all.map((written) => {
    const [, named, folder = ''] = /^(?:([^:]*):)?(.*)$/.exec(written) ?? [];
    return { route: (named ?? basename(folder)).replace(/^\/|\/$/g, ''), folder };
  });
  for (const [index, { route, folder }] of documents.entries()) {
    const issue = (message: string) =>
      context.addIssue({ code: 'custom', message, path: all.length > 1 ? [index] : [] });
    if (folder === '' || !/^[\w.~-]+(\/[\w.~-]+)*$/.test(route)) {
      issue('write a request path and a folder, such as html:/path/to/folder');
    } else if (documents.findIndex((other) => other.route === route) < index) {
      issue(`/${route} is there twice; give each folder a path of its own`);
    }
  }
  return documents;
}
