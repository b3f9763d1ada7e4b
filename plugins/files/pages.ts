import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'plugin-server';
import type { Folder, OpenFile } from './folder.js';
import { expand } from './includes.js';
import { renderMarkdown } from './markdown.js';
import { areCurrent, lastModified, type Source, sourceOf } from './sources.js';
import { builtinTemplate, fileTemplate, type Template } from './template.js';

export interface Page {
  readonly html: string;
  readonly etag: string;
  /** Of the newest of the files that it is made of. */
  readonly modified: Date;
  readonly policy: string;
}

export interface PageOptions {
  readonly html: boolean;
  /** Absolute path of the operator's template file. */
  readonly template: string | undefined;
  readonly stylesheets: { readonly markdown?: string; readonly highlight?: string };
}

/** Characters of rendered pages that are kept. */
const cacheSize = 4 * 1024 * 1024;

/** Markdown files as HTML pages, each rendered once for each version of the files it is made of. */
export class Pages {
  readonly #cache = new LRUCache<string, CachedPage>({
    maxSize: cacheSize,
    sizeCalculation: ({ page }) => page.html.length + 1,
  });
  /** Pages being rendered: whoever asks for one meanwhile waits for it rather than rendering it again. */
  readonly #pending = new Map<string, Promise<Page>>();

  constructor(
    private readonly folder: Folder,
    private readonly options: PageOptions,
    private readonly log: Logger,
  ) {}

  /** The page of a Markdown file, found in the folder at `names`. The caller closes the file. */
  async page(names: readonly string[], file: OpenFile): Promise<Page> {
    const cached = this.#cache.get(file.path);
    if (cached && (await areCurrent(cached.sources))) return cached.page;
    const pending = this.#pending.get(file.path);
    if (pending) return pending;
    const rendering = this.#render(names, file).finally(() => this.#pending.delete(file.path));
    this.#pending.set(file.path, rendering);
    return rendering;
  }

  async #render(names: readonly string[], file: OpenFile): Promise<Page> {
    const { text, title, sources } = await expand(this.folder, names, file, this.log);
    const template = await this.#template(sources);
    const { html, heading } = await renderMarkdown(text, { html: this.options.html });
    const filled = template.fill(title ?? heading ?? basename(file.path, extname(file.path)), html);
    const page = {
      html: filled,
      etag: `"${createHash('sha256').update(filled).digest('base64url')}"`,
      modified: lastModified(sources),
      policy: template.policy,
    };
    this.#cache.set(file.path, { page, sources });
    return page;
  }

  async #template(sources: Source[]): Promise<Template> {
    const { template, stylesheets } = this.options;
    if (template === undefined) return builtinTemplate(stylesheets);
    sources.push(sourceOf(template, await stat(template, { bigint: true })));
    return fileTemplate(await readFile(template, 'utf8'));
  }
}

interface CachedPage {
  readonly page: Page;
  readonly sources: readonly Source[];
}
