import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect } from 'chai';
import { combineReports } from '../../../../host/monitor/metric-report.js';
import { fingerprintOf } from '../../../../plugins/sessman/stores/keyring.js';
import { type Api, aUser, backends, startApi } from '../support/api.js';
import { WatchClient } from '../support/watcher.js';

/** The values of /metrics by name, and by the labels besides `plugin`. */
async function metricsOf(api: Api): Promise<Map<string, number>> {
  const { text } = await api.get('/metrics');
  return new Map(
    text
      .split('\n')
      .filter((line) => line.startsWith('sessman_'))
      .map((line) => {
        const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)!;
        const others = labels?.split(',').filter((label) => label !== 'plugin="sessman"');
        return [others?.length ? `${name}{${others}}` : name!, Number(value)] as const;
      }),
  );
}

for (const { name, settings } of backends) {
  describe(`metrics of the ${name} store`, () => {
    let api: Api;
    before(async () => {
      const limits = { max_sessions_per_user: 2, session_ttl: 300 };
      api = await startApi({ ...(await settings()), ...limits }, { ini: '[auth]\napikey=metrics-test\n' });
    });
    after(() => api?.close());

    const headers = { Authorization: 'Bearer metrics-test' };
    const post = async (call: string, body: object, status = 200) => {
      const reply = await api.post(`/sessman/${call}`, body, { headers });
      expect(reply.status, reply.text).to.equal(status);
      return reply.body;
    };
    const metrics = async () => metricsOf({ ...api, get: (path) => api.get(path, { headers }) });
    const operations = async () => {
      const found = new Map<string, number>();
      for (const [metric, count] of await metrics()) {
        const operation = /^sessman_store_operation_duration_seconds_count\{operation="(\w+)"\}/.exec(metric);
        // These come in the background.
        if (operation && !['sweep', 'replace_sealed'].includes(operation[1]!))
          found.set(operation[1]!, count);
      }
      return found;
    };

    it('time each operation once, under its name', async () => {
      const userid = aUser();
      const made = await post('new', { userid });
      let { session_id } = made;
      const data = { a: 1 };
      for (const [operation, act] of <[string, () => Promise<unknown>][]>[
        ['read', () => post('get', { session_id, userid })],
        ['write', () => post('update', { session_id, data })],
        ['write', () => post('touch', { session_id })],
        ['rewrite', () => post('patch', { session_id, data })],
        ['peek', () => api.get('/sessman/check', { headers: { 'X-Session-Id': session_id } })],
        ['list', () => post('list', { userid })],
        ['walk', () => api.get('/sessman/sessions', { headers })],
        ['remove', () => post('end', { session_id })],
        ['insert', async () => ({ session_id } = await post('new', { userid }))],
        ['remove_of_user', () => post('end_all', { userid })],
        ['end_everyone', () => post('end_all', { everyone: true })],
      ]) {
        const before = await operations();
        await act();
        const after = await operations();
        expect((after.get(operation) ?? 0) - (before.get(operation) ?? 0), operation).to.equal(1);
      }
      for (let n = 0; n < 3; n++) ({ session_id } = await post('new', { userid }));
      const client = await WatchClient.open(api.server.url, { 'X-Session-Id': session_id });
      await client.next();
      for (const operation of ['remove_each', 'peek_each']) while (!(await operations()).get(operation));
      await post('end_all', { everyone: true });
      expect(await client.next(1)).to.deep.include({ data: { reason: 'everyone' } });
      const durations = 'sessman_store_operation_duration_seconds';
      const all = await metrics();
      const bounds = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
      ];
      let last = 0;
      for (const bound of [...bounds, '+Inf']) {
        const count = all.get(`${durations}_bucket{le="${bound}",operation="insert"}`);
        expect(count, `${bound}`).to.be.at.least(last);
        last = count!;
      }
      expect(all.get(`${durations}_count{operation="insert"}`)).to.equal(last);
      expect(all.get(`${durations}_sum{operation="insert"}`)).to.be.within(1e-6, 5 * last);
    });

    it('count no error where the store did its work', async () => {
      const { session_id } = await post('new', { userid: aUser() });
      const filling = 'x'.repeat(200_000);
      await post('patch', { session_id, data: { one: filling } });
      expect((await post('patch', { session_id, data: { two: filling } }, 413)).code).to.equal(
        'data_too_large',
      );
      await post('patch', { session_id: 'A'.repeat(43), data: {} }, 404);
      expect([...(await metrics()).keys()].filter((each) => each.includes('errors'))).to.deep.equal([]);
    });

    it('say what all processes see once, and add up what each does', async () => {
      const report = await api.server.host.metrics.report();
      const values = (of: Awaited<typeof report>) =>
        new Map(
          of
            .filter((metric) => metric.name.startsWith('sessman_') && metric.values.length > 0)
            .map(({ name, type, values }) => [
              name,
              [type, values.filter(({ metricName = '' }) => !metricName.endsWith('_bucket'))] as const,
            ]),
        );
      const [one, two] = [values(report), values(combineReports([report, report]))];
      expect([...two.keys()]).to.deep.equal([...one.keys()]);
      expect(one.size).to.be.at.least(5);
      for (const [metric, [type, alone]] of one) {
        const factor = type === 'gauge' ? 1 : 2;
        expect(
          two.get(metric)![1].map(({ value }) => value),
          metric,
        ).to.deep.equal(alone.map(({ value }) => value * factor));
      }
    });

    it('tell the clock and the sessions', async () => {
      const all = await metrics();
      const [min, max] = name === 'embedded' ? [0, 0] : [-5, 5];
      expect(all.get('sessman_clock_skew_seconds')).to.be.within(min!, max!);
      expect(all.get('sessman_clock_error_seconds')).to.be.within(0, max!);
      expect(all.get('sessman_clock_doubtful')).to.equal(0);
      const userid = aUser();
      const before = all.get('sessman_sessions')!;
      await post('new', { userid });
      expect((await metrics()).get('sessman_sessions')).to.equal(before + 1);
    });
  });
}

describe('metrics of a store in a file', () => {
  it('tell its size, its readers and the keys of its records', async () => {
    const api = await startApi();
    const path = join(api.server.folder, 'data/sessman/store');
    try {
      const made = await api.post('/sessman/new', { userid: 'ann', data: { filling: 'x'.repeat(200_000) } });
      const full = await metricsOf(api);
      expect(full.get('sessman_store_oldest_reader_seconds')).to.equal(0);
      expect(full.get('sessman_store_file_bytes')).to.be.within(220_000, 2_000_000);
      await api.post('/sessman/end', { session_id: made.body.session_id });
      // A page is free once no transaction of the last two can need it.
      for (let n = 0; n < 3; n++) await api.post('/sessman/new', { userid: 'ann' });
      const all = await metricsOf(api);
      expect(all.get('sessman_store_free_bytes')).to.be.within(200_000, all.get('sessman_store_file_bytes')!);
      expect([...all.keys()].filter((each) => each.startsWith('sessman_records'))).to.deep.equal([]);
      await api.server.host.close();
      const key = randomBytes(32).toString('base64');
      const encrypting = await startApi({ path, encryption_key: [key, 'plain'] });
      const records = `sessman_records{key="${fingerprintOf(key)}"}`;
      try {
        while ((await metricsOf(encrypting)).get(records) !== 3);
        const counts = await metricsOf(encrypting);
        expect(counts.get('sessman_records{key="plain"}')).to.equal(0);
        expect(
          counts.get('sessman_store_operation_duration_seconds_count{operation="replace_sealed"}'),
        ).to.equal(3);
      } finally {
        await encrypting.close();
      }
    } finally {
      await api.close();
    }
  });

  it('count the expired sessions that are removed, and what the last scrub found', async () => {
    const api = await startApi({ session_ttl: 1, removal_delay: 0 });
    try {
      const began = Date.now() / 1000;
      for (let n = 0; n < 3; n++) await api.post('/sessman/new', { userid: 'ann' });
      let all = await metricsOf(api);
      while (all.get('sessman_sessions_expired_total') !== 3) all = await metricsOf(api);
      expect(all.get('sessman_sessions')).to.equal(0);
      expect(all.get('sessman_store_operation_duration_seconds_count{operation="sweep"}')).to.be.at.least(1);
      const scrub = (figure: string) => all.get(`sessman_store_scrub_${figure}`);
      while (scrub('records') === undefined) all = await metricsOf(api);
      expect(scrub('finished_timestamp_seconds')).to.be.within(began - 1, Date.now() / 1000);
      expect(scrub('records')).to.be.within(0, 3);
      expect([scrub('damaged'), scrub('repaired')]).to.deep.equal([0, 0]);
    } finally {
      await api.close();
    }
  });
});
