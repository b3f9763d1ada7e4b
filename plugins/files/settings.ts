import { basename } from 'node:path';
import { boolean, integer, list, text, z } from 'plugin-server';

/** A folder and the request path that it is served under: `html` for /html. */
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
      'the folder to serve, as PATH:FOLDER, or several with `list:`; without PATH, the request path is the name of the folder',
    ),
  indexfile: list(text())
    .default(['index.html', 'index.md'])
    .describe('the file that is served for a folder; of several, the first that exists'),
  markdown: boolean().default(true).describe('serve Markdown files as HTML pages instead of text'),
  markdown_html: boolean().default(false).describe('keep HTML in Markdown files; scripts in it never run'),
  template: text()
    .optional()
    .describe('an HTML file with `{{title}}` and `{{content}}` that replaces the built-in page'),
  markdown_css: text()
    .optional()
    .describe('a stylesheet for the built-in page, relative to the served folder'),
  highlight_css: text()
    .optional()
    .describe('a stylesheet for highlighted code (highlight.js), relative to the served folder'),
  max_age: integer({ min: 0 }).default(0).meta({
    description:
      'how long browsers may use a file without asking again; with 0 they ask each time, and get 304 while it is unchanged',
    unit: 'seconds',
  }),
  content_security_policy: text()
    .optional()
    .describe('the Content-Security-Policy of every response; replaces the built-in policies'),
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
      issue(`/${route} is given twice; give each folder a different path`);
    }
  }
  return documents;
}
