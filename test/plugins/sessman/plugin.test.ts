import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { type Api, startApi } from './support/api.js';

describe('sessman as a plugin', () => {
  let api: Api;
  before(async () => {
    api = await startApi(
      {},
      {
        ini: '[paths]\nplugins=plugins\n',
        files: {
          'plugins/visits.mjs': `
            import { definePlugin } from 'plugin-server';
            export default definePlugin({
              after: ['sessman'],
              setup({ router, plugin }) {
                const sessions = plugin('sessman');
                router.get('/:user', async (ctx) => {
                  const { id } = await sessions.create(ctx.params.user, { visits: 0 });
                  await sessions.patch(id, { visits: 1 });
                  ctx.body = JSON.parse((await sessions.get(id, ctx.params.user)).data);
                });
              },
            });`,
        },
      },
    );
  });
  after(() => api?.close());

  it('gives its sessions to plugins that come after it', async () => {
    expect((await api.get('/visits/mary')).body).to.deep.equal({ visits: 1 });
    expect((await api.get('/sessman/list?userid=mary')).body.sessions).to.have.length(1);
  });

  it('describes every call in a valid OpenAPI document, with examples that hold', async () => {
    const document = (await api.get('/openapi.json')).body;
    const result = await new Validator().validate(structuredClone(document));
    expect(result.errors ?? []).to.deep.equal([]);
    const paths = Object.keys(document.paths).filter((path) => path.startsWith('/sessman/'));
    for (const call of ['new', 'get', 'update', 'patch', 'touch', 'renew', 'end', 'list', 'end_all']) {
      expect(paths).to.include(`/sessman/${call}`);
      const { post } = document.paths[`/sessman/${call}`];
      expect(post.responses['200'].content['application/json'].example).to.be.an('object');
      // Made into a call, the example is answered by the session manager, and not as bad input.
      const reply = await api.post(`/sessman/${call}`, post.requestBody.content['application/json'].example);
      expect(reply.status, `${call}: ${reply.text}`).to.be.oneOf([200, 404]);
    }
  });
});
