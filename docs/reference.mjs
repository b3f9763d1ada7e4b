/**
 * Writes the tables of settings and errors in the documentation from the code: `npm run docs`.
 * Exports `pages` for the test that fails when they are out of date.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describeKeys } from '../dist/config/index.js';
import { differences } from '../dist/host/commands/import/differences.js';
import { hostErrors } from '../dist/host/http/errors.js';
import { fileErrors } from '../dist/host/kit/file-errors.js';
import { hostParameters } from '../dist/host/prepare/plugin-parameters.js';
import { sections } from '../dist/host/prepare/settings.js';
import { errors as adminErrors } from '../dist/plugins/admin/errors.js';
import { settings as filesSettings } from '../dist/plugins/files/settings.js';
import { errors as sessmanErrors } from '../dist/plugins/sessman/errors.js';
import { settingsSchema } from '../dist/plugins/sessman/settings.js';
import { errors as systeminfoErrors } from '../dist/plugins/systeminfo/errors.js';
import { settings as systeminfoSettings } from '../dist/plugins/systeminfo/settings.js';

/** The generated parts of each page, between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. */
const parts = [
  { page: 'configuration.md', name: 'keys', text: hostKeys },
  { page: 'configuration.md', name: 'parameters', text: () => table(hostParameters) },
  { page: 'sessman.md', name: 'keys', text: () => table(settingsSchema) },
  { page: 'files.md', name: 'keys', text: () => table(filesSettings) },
  { page: 'systeminfo.md', name: 'keys', text: () => table(systeminfoSettings) },
  { page: 'migrating.md', name: 'differences', text: differenceTable },
  { page: 'errors.md', name: 'host', text: () => errorTable(hostErrors) },
  { page: 'errors.md', name: 'sessman', text: () => errorTable(sessmanErrors) },
  { page: 'errors.md', name: 'files', text: () => errorTable(fileErrors) },
  { page: 'errors.md', name: 'admin', text: () => errorTable(adminErrors) },
  { page: 'errors.md', name: 'systeminfo', text: () => errorTable(systeminfoErrors) },
];

/** The pages as they should be: path -> text. */
export async function pages() {
  const texts = new Map();
  for (const { page, name, text } of parts) {
    const path = fileURLToPath(new URL(page, import.meta.url));
    const before = texts.get(path) ?? (await readFile(path, 'utf8'));
    const place = new RegExp(`(<!-- ${name}:begin -->\n)[^]*?(<!-- ${name}:end -->)`);
    if (!place.test(before))
      throw new Error(`docs/${page} has no <!-- ${name}:begin --> … <!-- ${name}:end -->`);
    texts.set(
      path,
      before.replace(place, (_all, begin, end) => `${begin}${text()}${end}`),
    );
  }
  return texts;
}

function hostKeys() {
  return Object.entries(sections)
    .map(([name, schema]) => `\n### [${name}]\n\n${schema.meta().description}\n${table(schema)}`)
    .join('')
    .concat('\n');
}

function table(schema) {
  const rows = describeKeys(schema).map(({ name, kinds, minimum, maximum, default: value, meta }) => {
    const names = [name, ...(meta.aliases ?? [])].map((each) => `\`${each}\``).join(', also ');
    const unit = meta.unit === undefined ? '' : `, ${meta.unit}`;
    const taken = kinds.map((kind) => kind + (/number|integer/.test(kind) ? range(minimum, maximum) : ''));
    return `| ${names} | ${taken.join(' or ').replaceAll('"', '`')}${unit} | ${shown(value)} | ${(meta.description ?? '').replaceAll('|', '\\|')} |\n`;
  });
  return `\n| key | value | default | |\n| --- | --- | --- | --- |\n${rows.join('')}\n`;
}

function errorTable(errors) {
  const rows = Object.entries(errors).map(
    ([code, { status, when, remedy }]) => `| \`${code}\` | ${status} | ${when} | ${remedy} |\n`,
  );
  return `\n| code | status | when | what to do |\n| --- | --- | --- | --- |\n${rows.join('')}\n`;
}

function differenceTable() {
  const rows = Object.values(differences).map(
    ({ about, before, now, remedy }) => `| ${about} | ${before} | ${now} | ${remedy ?? ''} |\n`,
  );
  return `\n| | before | now | what to do |\n| --- | --- | --- | --- |\n${rows.join('')}\n`;
}

function range(minimum, maximum) {
  return `${minimum === undefined ? '' : ` from ${minimum}`}${maximum === undefined ? '' : ` to ${maximum}`}`;
}

function shown(value) {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return '–';
  return `\`${value}\``;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of await pages()) await writeFile(path, text);
}
