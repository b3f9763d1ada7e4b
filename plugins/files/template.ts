import { createHash } from 'node:crypto';
import { highlightStyle, pageStyle } from './style.js';

/** What a rendered Markdown page is put into. */
export interface Template {
  /** The page as HTML. Title is text, content is HTML. */
  fill(title: string, content: string): string;
  /** What browsers may load for the page, as a Content-Security-Policy. */
  readonly policy: string;
}

/** The built-in template. Stylesheets of the operator's take the place of its own. */
export function builtinTemplate(stylesheets: { markdown?: string; highlight?: string }): Template {
  const styles = [
    stylesheets.markdown === undefined ? `<style>${pageStyle}</style>` : link(stylesheets.markdown),
    stylesheets.highlight === undefined ? `<style>${highlightStyle}</style>` : link(stylesheets.highlight),
  ].join('\n');
  return {
    fill: (title, content) => fill(builtin, { title: escapeHtml(title), styles, content }),
    policy: policy({ 'style-src': `'self' ${hashOf(pageStyle)} ${hashOf(highlightStyle)}` }),
  };
}

/** A template file of the operator's, with `{{title}}` and `{{content}}` in it. It may use scripts of this server. */
export function fileTemplate(text: string): Template {
  return {
    fill: (title, content) => fill(text, { title: escapeHtml(title), content }),
    policy: policy({
      'style-src': "'self' 'unsafe-inline'",
      'script-src': "'self'",
      'connect-src': "'self'",
    }),
  };
}

const builtin = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{title}}</title>
{{styles}}
</head>
<body>
<main>
{{content}}</main>
</body>
</html>
`;

/** Pictures may come from anywhere, since many documents show badges; nothing runs that is not allowed by name. */
function policy(extra: Readonly<Record<string, string>>): string {
  const directives = {
    'default-src': "'none'",
    'img-src': "'self' https: data:",
    'media-src': "'self' https:",
    'font-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'self'",
    'frame-ancestors': "'self'",
    ...extra,
  };
  return Object.entries(directives)
    .map(([name, sources]) => `${name} ${sources}`)
    .join('; ');
}

function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{\{(title|styles|content)\}\}/g, (whole, name) => values[name] ?? whole);
}

function link(href: string): string {
  return `<link rel="stylesheet" href="${escapeHtml(href)}">`;
}

function hashOf(style: string): string {
  return `'sha256-${createHash('sha256').update(style).digest('base64')}'`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
