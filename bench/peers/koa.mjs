import Router from '@koa/router';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';
import { allowed } from './key.mjs';

const app = new Koa();
const router = new Router({ prefix: '/echo0' });
for (let i = 0; i < 10; i++) {
  router.post(`/r${i}`, (ctx) => {
    ctx.body = { ok: true, n: ctx.request.body.n };
  });
}

app.use((ctx, next) => {
  if (!allowed(ctx.headers.authorization)) ctx.throw(401);
  return next();
});
app.use(bodyParser());
app.use(router.routes());
app.use(router.allowedMethods());
app.listen(Number(process.env.PORT), '127.0.0.1');
