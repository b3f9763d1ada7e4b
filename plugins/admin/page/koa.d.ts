/** Stands for Koa, whose types would bring Node's globals into the page. */
export type Middleware = never;
