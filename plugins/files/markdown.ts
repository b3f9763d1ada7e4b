import { createRequire } from 'node:module';
import type { MarkdownItOptions, Token } from 'markdown-it';

/** A rendered Markdown text. */
export interface RenderedMarkdown {
  readonly html: string;
  /** The text of its first top-level heading. */
  readonly heading: string | undefined;
}

export interface MarkdownOptions {
  /** Pass HTML in the text through, rather than show it as text. */
  readonly html: boolean;
}

/** Characters of code that are highlighted on one page; the rest is shown plain. Highlighting takes 1 s for some 2 MB. */
const maximumHighlighted = 128 * 1024;

/** Renders Markdown (CommonMark with tables, strike-through and bare links), its headings with ids to link to. */
export async function renderMarkdown(text: string, options: MarkdownOptions): Promise<RenderedMarkdown> {
  // Both are loaded by the first page that needs them, so that a server without Markdown never does.
  const { default: MarkdownIt } = await import('markdown-it');
  const highlighter = /(```|~~~) *\w/.test(text) ? loadHighlighter() : undefined;
  const markdown = new MarkdownIt({
    html: options.html,
    linkify: true,
    highlight: highlighter && highlightWith(highlighter),
  });
  // What scrolls sideways has to be within reach of the keyboard.
  for (const rule of ['fence', 'code_block'] as const) {
    const render = markdown.renderer.rules[rule]!;
    markdown.renderer.rules[rule] = (...given) => render(...given).replace('<pre>', '<pre tabindex="0">');
  }
  const env = {};
  const tokens = markdown.parse(text, env);
  for (const token of tokens) if (token.type === 'table_open') token.attrSet('tabindex', '0');
  const heading = nameHeadings(tokens);
  return { html: markdown.renderer.render(tokens, markdown.options, env), heading };
}

/** What is used of highlight.js, whose own types would declare the browser's globals for the whole project. */
interface Highlighter {
  getLanguage(name: string): object | undefined;
  highlight(code: string, options: { language: string; ignoreIllegals: boolean }): { readonly value: string };
}

function loadHighlighter(): Highlighter {
  return createRequire(import.meta.url)('highlight.js/lib/common') as Highlighter;
}

/** Highlights the languages that are known by name; guessing the language of the others would cost seconds. */
function highlightWith(highlighter: Highlighter): MarkdownItOptions['highlight'] {
  let room = maximumHighlighted;
  return (code, language) => {
    if (!highlighter.getLanguage(language) || code.length > room) return '';
    room -= code.length;
    return highlighter.highlight(code, { language, ignoreIllegals: true }).value;
  };
}

/** Gives each heading an id made from its text, unlike all others on the page, and returns the text of the first h1. */
function nameHeadings(tokens: readonly Token[]): string | undefined {
  const taken = new Map<string, number>();
  let first: string | undefined;
  tokens.forEach((token, index) => {
    if (token.type !== 'heading_open') return;
    const text = textOf(tokens[index + 1]?.children ?? []);
    if (token.tag === 'h1') first ??= text;
    token.attrSet('id', unused(slugOf(text), taken));
  });
  return first;
}

/** The name itself, or with the first number behind it that no other name has. */
function unused(name: string, taken: Map<string, number>): string {
  let number = taken.get(name) ?? 0;
  let candidate = number === 0 ? name : `${name}-${number}`;
  while (number > 0 && taken.has(candidate)) candidate = `${name}-${++number}`;
  taken.set(name, number + 1);
  if (candidate !== name) taken.set(candidate, 1);
  return candidate;
}

function textOf(tokens: readonly Token[]): string {
  return tokens
    .map((token) =>
      token.type === 'text' || token.type === 'code_inline' ? token.content : textOf(token.children ?? []),
    )
    .join('');
}

/** As the large code hosts make them, so that links within a document work here as there. */
function slugOf(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replace(/ /g, '-');
}
