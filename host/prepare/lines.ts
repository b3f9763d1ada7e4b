import { boolean, type Configuration, childAt, type Located } from '../../config/index.js';
import { PARAMETERS } from './settings.js';

/** A line of `[plugin_parms]`. */
export interface Line {
  /** As it is written. */
  readonly name: string;
  readonly at: Located;
  /** The plugin that the line runs, if its name differs from the line's. */
  readonly uses: Located | undefined;
}

/** By name in lower case. */
export type Lines = ReadonlyMap<string, Line>;

export function parameterLines(configuration: Configuration): Lines {
  const { fields = new Map<string, Located>() } = configuration.section(PARAMETERS) ?? {};
  const lines = new Map<string, Line>();
  for (const [name, at] of fields) lines.set(name.toLowerCase(), { name, at, uses: childAt(at, 'uses') });
  return lines;
}

/** Whether a line has a switch of the host's and it is off. */
export function isSwitchedOff(line: Line | undefined, key: 'enabled' | 'required'): boolean {
  const value = childAt(line?.at, key)?.value;
  return value === false || boolean().safeParse(value).data === false;
}
