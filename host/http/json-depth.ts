import { type BodyLimits, tooDeep } from './body-errors.js';

export function checkDepth(text: string, value: unknown, limits: BodyLimits): void {
  // If no more brackets open than levels are allowed, the value need not be checked.
  if (opensMoreThan(limits.depth, text) && !depthAtMost(value, limits.depth)) throw tooDeep(limits);
}

function opensMoreThan(limit: number, text: string): boolean {
  if (text.length <= 2 * limit) return false;
  let count = 0;
  for (const bracket of ['{', '[']) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      count += 1;
      if (count > limit) return true;
    }
  }
  return false;
}

function depthAtMost(root: unknown, limit: number): boolean {
  let level: object[] = isObject(root) ? [root] : [];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth === limit) return false;
    level = level.flatMap((item) => Object.values(item).filter(isObject));
  }
  return true;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
