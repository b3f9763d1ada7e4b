import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fingerprintOf } from '../../../plugins/sessman/stores/keyring.js';
import { startMongo } from '../../support/mongodb.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { Server } from '../support/server.js';

/** Of each host. */
const clients = 4;

export const rotation: Fault = {
  name: 'rotation',
  title:
    'Encryption key replaced in three roll-outs, by reloads of two hosts on MongoDB, under 8 clients that write',
  async run(scale) {
    const rotations = scale(5, 1);
    const verdict = new Verdict();
    const mongo = await startMongo({});
    const settings = (keys: readonly string[]) =>
      JSON.stringify({
        server_url: mongo.host,
        username: mongo.user,
        password: mongo.password,
        database: mongo.database,
        encryption_key: keys,
      });
    const newKey = () => randomBytes(32).toString('base64');
    let current = newKey();
    const hosts: Server[] = [];
    const written = new Map<string, number>();
    let acknowledged = 0;
    let wrong = 0;
    let slowest = 0;
    let isOver = false;
    const write = async (host: Server) => {
      const agent = oneConnection();
      const { session_id } = JSON.parse(
        (await call(host.url, '/sessman/new', { body: { userid: 'ann', about: { a: 1 } } })).text,
      ) as { session_id: string };
      for (let n = 1; !isOver; n += 1) {
        const answer = await call(host.url, '/sessman/patch', { body: { session_id, data: { n } }, agent });
        slowest = Math.max(slowest, answer.ms);
        if (answer.status === 200) {
          acknowledged += 1;
          written.set(session_id, n);
        } else {
          wrong += 1;
          verdict.expect(false, `a call failed: ${answer.status} ${answer.error ?? answer.text}`);
        }
      }
      agent.destroy();
    };
    const rollOut = async (keys: readonly string[]) => {
      for (const host of hosts) {
        await writeFile(join(host.folder, 'sessman.json'), settings(keys));
        const { status } = await host.command('reload');
        verdict.expect(status === 0, `a reload ended with ${status}`);
      }
    };
    const isUnused = async (key: string) => {
      const { text } = await call(hosts[0]!.url, '/metrics');
      return new RegExp(`^sessman_records\\{[^}]*key="${fingerprintOf(key)}"[^}]*\\} 0$`, 'm').test(text);
    };
    let lost = 0;
    try {
      for (let n = 0; n < 2; n += 1) {
        hosts.push(
          await Server.start({
            ini: '[paths]\npidfile=server.pid\n[plugin_parms]\nsessman=json=sessman.json\n',
            files: { 'sessman.json': settings([current]) },
          }),
        );
      }
      const writers = Promise.all(
        hosts.flatMap((host) => Array.from({ length: clients }, () => write(host))),
      );
      for (let n = 0; n < rotations; n += 1) {
        const [old, next] = [current, newKey()];
        await rollOut([old, next]);
        await rollOut([next, old]);
        while (!(await isUnused(old))) await sleep(200);
        await rollOut([next]);
        current = next;
      }
      isOver = true;
      await writers;
      for (const [session_id, n] of written) {
        const { text } = await call(hosts[1]!.url, '/sessman/get', { body: { session_id, userid: 'ann' } });
        if ((JSON.parse(text) as { data?: { n?: number } }).data?.n !== n) lost += 1;
      }
    } finally {
      isOver = true;
      for (const host of hosts) await host.close();
      await mongo.stop();
    }
    verdict.expect(lost === 0, `${lost} sessions do not have what was written last`);
    return {
      times: `${rotations} rotations`,
      acknowledged,
      lost,
      wrong,
      slowest,
      failures: verdict.failures,
    };
  },
};
