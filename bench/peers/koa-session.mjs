import Router from '@koa/router';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';
import session from 'koa-session';
import { allowed } from './key.mjs';

const app = new Koa();
app.keys = ['bench'];
const sessions = new Map();
const router = new Router({ prefix: '/sessman' });

router.post('/new', (ctx) => {
  ctx.session.userid = ctx.query.userid;
  ctx.session.data = ctx.request.body.data;
  answer(ctx);
});
router.get('/get', answer);

app.use((ctx, next) => {
  if (!allowed(ctx.headers.authorization)) ctx.throw(401);
  return next();
});
app.use(
  session(
    {
      maxAge: 86_400_000,
      store: {
        get: (id) => sessions.get(id),
        set: (id, value) => {
          sessions.set(id, value);
        },
        destroy: (id) => {
          sessions.delete(id);
        },
      },
    },
    app,
  ),
);
app.use(bodyParser());
app.use(router.routes());
app.listen(Number(process.env.PORT), '127.0.0.1');

function answer(ctx) {
  const { userid, data } = ctx.session;
  if (userid === undefined) ctx.throw(404);
  ctx.body = { userid, data };
}
