import { serveByHand } from './by-hand.mjs';

serveByHand((request, body, answer) => {
  if (request.method === 'POST' && /^\/echo0\/r\d$/.test(request.url)) {
    answer(200, JSON.stringify({ ok: true, n: body.n }));
  } else if (request.method === 'GET' && request.url === '/echo0/ping') {
    answer(200, '{"ok":true}');
  } else {
    answer(404, '{"error":"not found"}');
  }
});
