import type { Target } from '../target.js';
import { cookieTargets } from './cookies.js';
import { edgeTargets } from './http-edge.js';
import { iniTargets } from './ini.js';
import { jsonTargets } from './json.js';
import { mergePatchTargets } from './merge-patch.js';
import { savesTargets } from './saves.js';

export const targets: readonly Target[] = [
  ...iniTargets,
  ...jsonTargets,
  ...mergePatchTargets,
  ...cookieTargets,
  ...savesTargets,
  ...edgeTargets,
];
