import { nearest, type Problem } from '../../config/index.js';
import { locateMember } from '../diagnostics/locate-member.js';
import { type PluginPackage, titleOf } from './discovery.js';

interface Member {
  /** What its value must be: `a function`. */
  readonly form: string;
  readonly fits: (value: unknown) => boolean;
  readonly example: string;
  readonly required?: true;
}

const isFunction = (value: unknown) => typeof value === 'function';
const isText = (value: unknown) => typeof value === 'string';

/** A schema of whichever copy of zod. */
const isSchema = (value: unknown) =>
  typeof value === 'object' && value !== null && isFunction((value as { safeParse?: unknown }).safeParse);

/** The members that `definePlugin` accepts. */
const MEMBERS: Readonly<Record<string, Member>> = {
  name: {
    form: 'a name of letters, digits, ".", "_" and "-" that begins with a letter or digit',
    fits: (value) => isText(value) && /^[a-z0-9][\w.-]*$/i.test(value as string),
    example: "name: 'jobs'",
  },
  after: {
    form: 'an array of plugin names',
    fits: (value) => Array.isArray(value) && value.every((each) => isText(each) && /^[^?]+\??$/.test(each)),
    example: "after: ['sessman']",
  },
  config: { form: 'a zod schema', fits: isSchema, example: 'config: z.object({ … })' },
  sections: {
    form: 'an object of zod schemas',
    fits: (value) => isPlain(value) && Object.values(value).every(isSchema),
    example: 'sections: { job_mail: z.object({ … }) }',
  },
  check: { form: 'a function', fits: isFunction, example: 'check({ report }) { … }' },
  auth: { form: "'own'", fits: (value) => value === 'own', example: "auth: 'own'" },
  operators: {
    form: 'true or false',
    fits: (value) => typeof value === 'boolean',
    example: 'operators: true',
  },
  setup: { form: 'a function', fits: isFunction, example: 'setup({ router }) { … }', required: true },
};

/** All mistakes in the argument of `definePlugin`, each with its place in the plugin's file. */
export function definitionFaults(
  package_: Pick<PluginPackage, 'name' | 'installedAs' | 'entry'>,
  definition: object,
): readonly Problem[] {
  const { entry } = package_;
  const title = titleOf(package_);
  const faults: Problem[] = [];
  const fault = (member: string, message: string, hint: string) =>
    faults.push({ position: locateMember(entry, 'definePlugin', member), message, hint });
  const meant = new Set<string>();
  for (const key of Object.keys(definition)) {
    if (Object.hasOwn(MEMBERS, key)) continue;
    const near = nearest(key, Object.keys(MEMBERS));
    if (near !== undefined) meant.add(near);
    const hint =
      near === undefined ? `the members are ${Object.keys(MEMBERS).join(', ')}` : `did you mean "${near}"?`;
    fault(key, `unknown member "${key}" in the definition of ${title}`, hint);
  }
  for (const [key, { form, fits, example, required }] of Object.entries(MEMBERS)) {
    const value = (definition as Record<string, unknown>)[key];
    if (value === undefined) {
      // A misspelt name is one mistake.
      if (required && !meant.has(key))
        fault(key, `the definition of ${title} has no ${key}`, `write: ${example}`);
    } else if (!fits(value)) {
      fault(key, `${key} of ${title} is ${shown(value)}, not ${form}`, `write: ${example}`);
    }
  }
  return faults;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isSchema(value);
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60));
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) {
    const wrong = value.find((each) => typeof each !== 'string');
    return wrong === undefined ? JSON.stringify(value).slice(0, 60) : 'an array with other values';
  }
  return typeof value === 'function' ? 'a function' : 'an object';
}
