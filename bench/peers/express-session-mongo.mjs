import MongoStore from 'connect-mongo';
import express from 'express';
import session from 'express-session';
import { allowed } from './key.mjs';

const app = express();
app.use((request, response, next) => {
  if (allowed(request.headers.authorization)) next();
  else response.status(401).json({ error: 'a key is needed' });
});
app.use(
  session({
    secret: 'bench',
    resave: false,
    saveUninitialized: false,
    store: MongoStore.create({
      mongoUrl: process.env.MONGO_URL,
      dbName: 'bench',
      collectionName: 'express',
      // A session that was only read is written back at most once in this many seconds.
      touchAfter: 3600,
    }),
    cookie: { maxAge: 86_400_000 },
  }),
);
app.use(express.json());

app.post('/sessman/new', (request, response) => {
  request.session.userid = request.query.userid;
  request.session.data = request.body.data;
  answer(request, response);
});
app.get('/sessman/get', answer);
app.post('/sessman/update', (request, response) => {
  request.session.data = request.body.data;
  answer(request, response);
});
app.listen(Number(process.env.PORT), '127.0.0.1');

function answer(request, response) {
  const { userid, data } = request.session;
  if (userid === undefined) response.status(404).json({ error: 'no such session' });
  else response.json({ userid, data });
}
