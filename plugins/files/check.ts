import { readFile, stat } from 'node:fs/promises';
import type { CheckContext } from 'plugin-server';
import type { Settings } from './settings.js';

/** Reports folders of `[file_server]` that do not exist, and a template that cannot be used. */
export async function checkPaths(
  { documents, template }: Settings,
  { resolvePath, report }: Pick<CheckContext<unknown, Record<never, never>>, 'resolvePath' | 'report'>,
): Promise<void> {
  for (const [index, { folder }] of documents.entries()) {
    const found = await stat(resolvePath(folder)).catch(() => undefined);
    if (found?.isDirectory()) continue;
    report(
      ['file_server', 'documents', index],
      found ? `"${folder}" is not a folder` : `folder "${folder}" does not exist`,
      'create the folder, or write the path of an existing one',
    );
  }
  if (template === undefined) return;
  const text = await readFile(resolvePath(template), 'utf8').catch(() => undefined);
  if (text === undefined) {
    report(
      ['file_server', 'template'],
      `template "${template}" cannot be read`,
      'write the path of an HTML file',
    );
  } else if (!text.includes('{{content}}')) {
    const hint = 'write {{content}} where the page belongs';
    report(['file_server', 'template'], `template "${template}" does not contain {{content}}`, hint);
  }
}
