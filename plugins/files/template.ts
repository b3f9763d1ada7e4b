import { createHash } from 'node:crypto';
import { highlightStyle, pageStyle } from './style.js';

/** The document around a rendered Markdown page. */
export interface Template {
  /** The page as HTML. The title is text, the content is HTML. */
  fill(title: string, content: string): string;
  /** The Content-Security-Policy: what browsers may load for the page. */
  readonly policy: string;
}

/** The built-in template. The operator's stylesheets replace its own. */
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

/** The operator's template file, which contains `{{title}}` and `{{content}}`. It may use scripts from this server. */
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

/** Images may come from anywhere, since many documents show badges. Nothing runs unless a directive allows it. */
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
