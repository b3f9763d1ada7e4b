import GithubSlugger from 'github-slugger';
import MarkdownIt, { type MarkdownItOptions, type Token } from 'markdown-it';
import headingAnchors from 'markdown-it-anchor';

/** A Markdown text, parsed. */
export interface ParsedMarkdown {
  /** The text of its first top-level heading. */
  readonly heading: string | undefined;
  /** Whether it contains code in a language that the highlighter knows. */
  readonly hasCode: boolean;
  /** The HTML, with plain or highlighted code. */
  render(code: 'plain' | 'highlighted'): string;
}

export interface MarkdownOptions {
  /** Keep HTML in the text instead of showing it as text. */
  readonly html: boolean;
}

/** What is used of highlight.js, whose own types would declare the browser's globals for the whole project. */
export interface Highlighter {
  getLanguage(name: string): object | undefined;
  highlight(code: string, options: { language: string; ignoreIllegals: boolean }): { readonly value: string };
}

/** Characters of code that are highlighted on one page. The rest is shown plain. */
const maximumHighlighted = 128 * 1024;

/**
 * Parses Markdown (CommonMark with tables, strikethrough and bare links). The headings get the ids that the large code
 * hosts give them, so that links within a document work here as there.
 *
 * Some texts take time that grows with the square of their length, which is why this runs in a thread with a deadline.
 */
export function parseMarkdown(
  text: string,
  options: MarkdownOptions,
  loadHighlighter: () => Highlighter,
): ParsedMarkdown {
  const markdown = new MarkdownIt({ html: options.html, linkify: true });
  const slugger = new GithubSlugger();
  let heading: string | undefined;
  markdown.use(headingAnchors, {
    getTokensText: textOf,
    slugify: (title) => slugger.slug(title),
    tabIndex: false,
    callback: ({ tag }, { title }) => {
      if (tag === 'h1') heading ??= title;
    },
  });
  // The keyboard must reach whatever scrolls sideways.
  for (const rule of ['fence', 'code_block'] as const) {
    const render = markdown.renderer.rules[rule]!;
    markdown.renderer.rules[rule] = (...given) => render(...given).replace('<pre>', '<pre tabindex="0">');
  }
  const env = {};
  const tokens = markdown.parse(text, env);
  for (const token of tokens) if (token.type === 'table_open') token.attrSet('tabindex', '0');
  const hasCode = tokens.some((token) => token.type === 'fence' && isKnown(token, loadHighlighter));
  return {
    heading,
    hasCode,
    render: (code) => {
      markdown.set({ highlight: code === 'plain' ? null : highlightWith(loadHighlighter()) });
      return markdown.renderer.render(tokens, markdown.options, env);
    },
  };
}

function isKnown({ info }: Token, loadHighlighter: () => Highlighter): boolean {
  const [language] = info.trim().split(/\s/, 1);
  return Boolean(language) && loadHighlighter().getLanguage(language!) !== undefined;
}

/** Highlights code whose language is named. Guessing the language of other code takes seconds. */
function highlightWith(highlighter: Highlighter): MarkdownItOptions['highlight'] {
  let left = maximumHighlighted;
  return (code, language) => {
    if (!highlighter.getLanguage(language) || code.length > left) return '';
    left -= code.length;
    return highlighter.highlight(code, { language, ignoreIllegals: true }).value;
  };
}

function textOf(tokens: readonly Token[]): string {
  return tokens
    .map((token) =>
      token.type === 'text' || token.type === 'code_inline' ? token.content : textOf(token.children ?? []),
    )
    .join('');
}
