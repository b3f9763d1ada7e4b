/** The style of Markdown pages: system fonts, one column, light or dark by the reader's system setting. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --text: #1f2328; --soft: #59636e; --ground: #ffffff; --raised: #f6f8fa; --line: #d1d9e0; --link: #0757c0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e9ed; --soft: #9aa4af; --ground: #0f1318; --raised: #181e25; --line: #333c46; --link: #6cb0ff;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.65 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: break-word;
}
main { max-width: 48rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1, h2, h3, h4, h5, h6 { margin: 2.2em 0 0.6em; line-height: 1.25; font-weight: 650; text-wrap: balance; }
h1 { margin-top: 0; font-size: 2.1rem; letter-spacing: -0.015em; }
h2 { padding-bottom: 0.3em; border-bottom: 1px solid var(--line); font-size: 1.45rem; }
h3 { font-size: 1.2rem; }
h4, h5, h6 { font-size: 1rem; }
h6 { color: var(--soft); }
p, ul, ol, dl, table, pre, blockquote, details { margin: 0 0 1.1em; }
ul, ol { padding-left: 1.6em; }
li > p { margin-bottom: 0.5em; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 0.15em; }
a:hover { text-decoration-thickness: 2px; }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
code, kbd, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: 0.9em; }
code { padding: 0.15em 0.35em; border-radius: 5px; background: var(--raised); }
pre { padding: 0.9rem 1.1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--raised); line-height: 1.5; tab-size: 2; }
pre code { padding: 0; background: none; font-size: inherit; }
blockquote { padding: 0.1em 1em; border-left: 4px solid var(--line); color: var(--soft); }
blockquote > :last-child { margin-bottom: 0; }
table { display: block; max-width: 100%; overflow-x: auto; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.45em 0.8em; border: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--raised); font-weight: 600; }
img, video { max-width: 100%; height: auto; }
hr { height: 1px; margin: 2.5em 0; border: 0; background: var(--line); }
@media print {
  main { max-width: none; padding: 0; }
  pre { white-space: pre-wrap; }
}
`;

/** Colors of highlighted code, with enough contrast on both backgrounds. */
export const highlightStyle = `
:root {
  --code-comment: #59636e; --code-keyword: #a8232f; --code-string: #0b5a2a; --code-number: #0550ae;
  --code-title: #6d33c2; --code-type: #8a4600;
}
@media (prefers-color-scheme: dark) {
  :root {
    --code-comment: #9aa4af; --code-keyword: #ff8f87; --code-string: #8fd9a0; --code-number: #85c2ff;
    --code-title: #d3b3ff; --code-type: #ffb77a;
  }
}
.hljs-comment, .hljs-quote, .hljs-meta { color: var(--code-comment); }
.hljs-keyword, .hljs-selector-tag, .hljs-literal, .hljs-doctag, .hljs-deletion { color: var(--code-keyword); }
.hljs-string, .hljs-regexp, .hljs-addition, .hljs-char { color: var(--code-string); }
.hljs-number, .hljs-symbol, .hljs-bullet, .hljs-link, .hljs-attr, .hljs-variable, .hljs-attribute { color: var(--code-number); }
.hljs-title, .hljs-section, .hljs-name, .hljs-selector-id, .hljs-selector-class { color: var(--code-title); }
.hljs-type, .hljs-built_in, .hljs-class, .hljs-tag { color: var(--code-type); }
.hljs-emphasis { font-style: italic; }
.hljs-strong, .hljs-section { font-weight: 600; }
`;
