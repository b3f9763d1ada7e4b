import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const project = new URL('../../../../../', import.meta.url);

/** `npm run build` makes the page; where only the server's code was compiled, this does. */
export function buildPage(): void {
  if (existsSync(new URL('dist/plugins/admin/page/page.js', project))) return;
  execFileSync(process.execPath, [fileURLToPath(new URL('plugins/admin/page/build.mjs', project))]);
}
