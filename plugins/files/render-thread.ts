/** The thread that renders Markdown, started by renderer.ts. */
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { type Highlighter, parseMarkdown } from './markdown.js';

/** A text to render. */
export interface RenderOrder {
  readonly text: string;
  readonly html: boolean;
}

/** Sent once for a text without code, otherwise twice: first with plain code, then with highlighted code. */
export interface RenderReply {
  readonly html: string;
  readonly heading: string | undefined;
  readonly isLast: boolean;
}

/** Characters of HTML in a page. A few KB of Markdown can expand to gigabytes. */
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
