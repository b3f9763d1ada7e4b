import { expect } from 'chai';
import { maskedValue, readConfiguration } from '../../config/index.js';

describe('a configuration that is shown', () => {
  it('masks secrets by name, in URLs, in lists and in JSON, and keeps the rest as it is', () => {
    const configuration = readConfiguration('/etc/app.ini', {
      parameterSections: ['plugin_parms'],
      readFile: (path) => {
        if (path.endsWith('.ini')) return ini;
        return '{"password": "hush", "ttl": 60, "hosts": ["a", "mongodb://u:hush@b"], "deep": {"apiKey": "hush"}}';
      },
      env: { TOKEN: 'hush' },
    });
    expect(configuration.problems).to.deep.equal([]);
    const shown = maskedValue(configuration.section('plugin_parms')!);
    expect(shown).to.deep.equal({
      one: { greeting: 'hi', token: '***', size: 3 },
      two: { password: '***', ttl: 60, hosts: ['a', '***'], deep: { apiKey: '***' } },
    });
    expect(JSON.stringify(maskedValue(configuration.section('auth')!))).to.not.contain('hush');
  });
});

const ini = `[auth]
apikey=list:hush-1 hush-2
[plugin_parms]
one=greeting=hi&token=hush&size=int:3
two=json=two.json
`;
