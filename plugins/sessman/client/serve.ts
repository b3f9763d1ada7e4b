import { readFileSync } from 'node:fs';
import { type Context, etagOf, openapi, type Router } from 'plugin-server';

/** Serves the client class and its types beside the calls, without a key: browsers fetch modules without one. */
export function serveClient({ path, mountOpen }: { path: string; mountOpen(path: string): Router }): void {
  serve('client.js', 'text/javascript', 'The client, a class as an ES module');
  serve('watch.js', 'text/javascript', 'The part of the client that watches a session');
  serve('client.d.ts', 'application/typescript', "The types of the client's class");

  function serve(file: string, type: string, summary: string): void {
    // The source map stays at home.
    const text = readFileSync(new URL(file, import.meta.url), 'utf8').replace(
      /^\/\/# sourceMappingURL=.*$/m,
      '',
    );
    const etag = etagOf(text);
    const content = { [type]: { schema: { type: 'string' } } };
    const operation = {
      summary,
      responses: { 200: { description: 'The file.', content } },
    };
    mountOpen(`${path}/${file}`).get('/', openapi(operation), (ctx: Context) => {
      ctx.set({ ETag: etag, 'Cache-Control': 'no-cache' });
      // Where Deno looks for a module's types.
      if (file === 'client.js') ctx.set('X-TypeScript-Types', './client.d.ts');
      ctx.type = `${type}; charset=utf-8`;
      ctx.status = 200;
      if (ctx.fresh) ctx.status = 304;
      else ctx.body = text;
    });
  }
}
