import { readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { LRUCache } from 'lru-cache';
import { DeadlineError, etagOf, type Logger, type OpenFile, type ServedFolder } from 'plugin-server';
import { expand } from './includes.js';
import type { Rendered, Renderer } from './renderer.js';
import { areCurrent, lastModified, type Source, sourceOf } from './sources.js';
import { builtinTemplate, fileTemplate, type Template } from './template.js';

export interface Page {
  readonly html: string;
  readonly etag: string;
  /** When the newest of its files was modified. */
  readonly modified: Date;
  readonly policy: string;
}

export interface PageOptions {
  readonly html: boolean;
  /** Absolute path of the operator's template file. */
  readonly template: string | undefined;
  readonly stylesheets: { readonly markdown?: string; readonly highlight?: string };
}

/** Markdown files as HTML pages, each rendered once for each version of its files. */
export class Pages {
  readonly #cache = new LRUCache<string, CachedPage>({
    maxSize: cacheSize,
    sizeCalculation: ({ page }) => (page?.html.length ?? 0) + 1,
  });
  /** Pages that are being rendered. Another request for one of them waits for it. */
  readonly #pending = new Map<string, Promise<Page | undefined>>();

  constructor(
    private readonly folder: ServedFolder,
    private readonly options: PageOptions,
    private readonly renderer: Renderer,
    private readonly log: Logger,
  ) {}

  /**
   * The page of a Markdown file, found in the folder at `names`. Undefined when it exceeds the limits of rendering.
   * The caller closes the file.
   */
  async page(names: readonly string[], file: OpenFile): Promise<Page | undefined> {
    const cached = this.#cache.get(file.path);
    if (cached && (await areCurrent(cached.sources))) return cached.page;
    const pending = this.#pending.get(file.path);
    if (pending) return pending;
    const rendering = this.#render(names, file).finally(() => this.#pending.delete(file.path));
    this.#pending.set(file.path, rendering);
    return rendering;
  }

  async #render(names: readonly string[], file: OpenFile): Promise<Page | undefined> {
    const { text, title, sources } = await expand(this.folder, names, file, this.log);
    const template = await this.#template(sources);
    const rendered = await this.#renderText(text, names);
    let page: Page | undefined;
    if (rendered) {
      const name = basename(file.path, extname(file.path));
      const html = template.fill(title ?? rendered.heading ?? name, rendered.html);
      const etag = etagOf(html);
      page = { html, etag, modified: lastModified(sources), policy: template.policy };
    }
    const isComplete = rendered !== undefined && rendered.problem === undefined;
    this.#cache.set(file.path, { page, sources }, isComplete ? {} : { ttl: retryAfter });
    return page;
  }

  async #renderText(text: string, names: readonly string[]): Promise<Rendered | undefined> {
    const about = { folder: this.folder.path, file: names.join('/') };
    try {
      const rendered = await this.renderer.render({ text, html: this.options.html });
      if (rendered.problem) this.log.warn({ ...about, ...causeOf(rendered.problem) }, 'code not highlighted');
      return rendered;
    } catch (error) {
      this.log.warn({ ...about, ...causeOf(error) }, 'Markdown not rendered, served as text');
      return undefined;
    }
  }

  async #template(sources: Source[]): Promise<Template> {
    const { template, stylesheets } = this.options;
    if (template === undefined) return builtinTemplate(stylesheets);
    sources.push(sourceOf(template, await stat(template, { bigint: true })));
    return fileTemplate(await readFile(template, 'utf8'));
  }
}

/** Characters of rendered pages that are kept. */
const cacheSize = 4 * 1024 * 1024;

/** Milliseconds until a text that exceeded its limits is tried again. The machine may have been busy, or asleep. */
const retryAfter = 10 * 60_000;

/** The stack of a deadline says nothing. */
function causeOf(error: unknown): object {
  return error instanceof DeadlineError ? { reason: error.message } : { err: error };
}

interface CachedPage {
  /** Undefined for a text that exceeded its limits. */
  readonly page: Page | undefined;
  readonly sources: readonly Source[];
}
