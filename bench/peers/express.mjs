import express from 'express';
import { allowed } from './key.mjs';

const app = express();
const router = express.Router();
for (let i = 0; i < 10; i++) {
  router.post(`/r${i}`, (request, response) => {
    response.json({ ok: true, n: request.body.n });
  });
}

app.use((request, response, next) => {
  if (allowed(request.headers.authorization)) next();
  else response.status(401).json({ error: 'a key is needed' });
});
app.use(express.json());
app.use('/echo0', router);
app.listen(Number(process.env.PORT), '127.0.0.1');
