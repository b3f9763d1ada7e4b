// node autocannon.mjs FILE: sends what the JSON file says and prints one line of JSON, as wrk.lua does.
import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';

const { port, seconds, requests, expect, connections } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const result = await autocannon({
  url: `http://127.0.0.1:${port}`,
  connections,
  duration: seconds,
  timeout: 10,
  requests,
  ...(expect === undefined ? {} : { verifyBody: (body) => body.includes(expect) }),
});

console.log(
  JSON.stringify({
    count: result.requests.total,
    seconds: result.duration,
    failed: result.errors + result.non2xx + result.mismatches,
    p50: result.latency.p50,
    p99: result.latency.p99,
  }),
);
