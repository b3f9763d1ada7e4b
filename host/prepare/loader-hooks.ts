/** Module hooks for Node 20, whose `module.register` runs them on a separate thread. loader.ts explains. */
import type { InitializeHook, ResolveHook } from 'node:module';

let urls = new Map<string, string>();

export const initialize: InitializeHook<Map<string, string>> = (data) => {
  urls = data;
};

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const url = urls.get(specifier);
  if (url === undefined) return nextResolve(specifier, context);
  if (specifier !== 'zod') return { url, shortCircuit: true };
  try {
    return await nextResolve(specifier, context);
  } catch {
    return { url, shortCircuit: true };
  }
};
