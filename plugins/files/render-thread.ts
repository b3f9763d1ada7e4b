/** The thread that renders Markdown: a module of its own, started by renderer.ts. */
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { type Highlighter, parseMarkdown } from './markdown.js';

/** A text to render. */
export interface RenderOrder {
  readonly text: string;
  readonly html: boolean;
}

/** Comes once for a text without code, else twice: with plain code at once, and then with the code highlighted. */
export interface RenderReply {
  readonly html: string;
  readonly heading: string | undefined;
  readonly isLast: boolean;
}

/** Characters of HTML that a page may have. A few KB of Markdown can stand for gigabytes of it. */
const maximumHtml = 3 * 1024 * 1024;

let highlighter: Highlighter | undefined;

/** Loaded by the first text that needs it. */
function loadHighlighter(): Highlighter {
  highlighter ??= createRequire(import.meta.url)('highlight.js/lib/common') as Highlighter;
  return highlighter;
}

parentPort!.on('message', ({ text, html }: RenderOrder) => {
  const parsed = parseMarkdown(text, { html }, loadHighlighter);
  const { heading, hasCode } = parsed;
  const reply = (rendered: string, isLast: boolean) => {
    if (rendered.length > maximumHtml) throw new Error(`the page is longer than ${maximumHtml} characters`);
    parentPort!.postMessage({ html: rendered, heading, isLast } satisfies RenderReply);
  };
  reply(parsed.render('plain'), !hasCode);
  if (hasCode) reply(parsed.render('highlighted'), true);
});

parentPort!.postMessage('ready');
