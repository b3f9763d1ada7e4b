import { requireUtf8 } from './percent-encoding.js';

/** The members of an application/x-www-form-urlencoded text, as koa-bodyparser gives them: nested by `a[b]=1` and `a.b=1`. */
export async function parseForm(text: string): Promise<object> {
  requireUtf8(text);
  const { default: qs } = await import('qs');
  return qs.parse(text, { allowDots: true });
}
