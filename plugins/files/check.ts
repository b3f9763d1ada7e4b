import { readFile, stat } from 'node:fs/promises';
import type { CheckContext } from 'plugin-server';
import type { Settings } from './settings.js';

/** Whether the folders and the template of `[file_server]` are there and of use. */
export async function checkPaths(
  { documents, template }: Settings,
  { resolvePath, report }: Pick<CheckContext<unknown, Record<never, never>>, 'resolvePath' | 'report'>,
): Promise<void> {
  for (const [index, { folder }] of documents.entries()) {
    const found = await stat(resolvePath(folder)).catch(() => undefined);
    if (found?.isDirectory()) continue;
    report(
      ['file_server', 'documents', index],
      `${found ? 'there is a file' : 'there is no folder'} at "${folder}", which [file_server] is to serve`,
      'make the folder, or write the path of one that is there',
    );
  }
  if (template === undefined) return;
  const text = await readFile(resolvePath(template), 'utf8').catch(() => undefined);
  if (text === undefined) {
    report(['file_server', 'template'], 'the template cannot be read', 'write the path of an HTML file');
  } else if (!text.includes('{{content}}')) {
    const hint = 'put {{content}} where the page belongs';
    report(['file_server', 'template'], 'the template has no place for the page', hint);
  }
}
