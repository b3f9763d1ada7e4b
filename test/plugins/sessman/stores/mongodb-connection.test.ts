import { expect } from 'chai';
import { MongoClient } from 'mongodb';
import {
  ConnectionSettingError,
  mongoConnection as connectionOf,
  type MongoSettings,
} from '../../../../databases/mongodb/connection.js';

const mongoConnection = (settings: MongoSettings) =>
  connectionOf(settings, { name: 'sessman', database: 'sessman' });

describe('where MongoDB is', () => {
  const user = { username: 'u', password: 'p@ss:w/ö#?;&%' };
  const cases: [
    string,
    MongoSettings,
    { url: string; database: string; authSource?: string; auth?: object },
  ][] = [
    ['a host and port', { server_url: 'db:27017' }, { url: 'mongodb://db:27017/', database: 'sessman' }],
    ['a host alone', { server_url: 'db' }, { url: 'mongodb://db/', database: 'sessman' }],
    [
      'an IPv6 address',
      { server_url: '[::1]:27017' },
      { url: 'mongodb://[::1]:27017/', database: 'sessman' },
    ],
    [
      'a user and a database',
      { server_url: 'db:27017', ...user, database: 'app' },
      { url: 'mongodb://db:27017/', database: 'app', authSource: 'app', auth: user },
    ],
    [
      'a user and no database',
      { server_url: 'db:27017', ...user },
      { url: 'mongodb://db:27017/', database: 'sessman', authSource: 'sessman', auth: user },
    ],
    [
      'a replica set',
      { server_url: 'db1:1,db2:2/?replicaSet=rs', ...user },
      { url: 'mongodb://db1:1,db2:2/?replicaSet=rs', database: 'sessman', authSource: 'sessman', auth: user },
    ],
    [
      'a replica set without a slash',
      { server_url: 'db1:1,db2:2?replicaSet=rs' },
      { url: 'mongodb://db1:1,db2:2/?replicaSet=rs', database: 'sessman' },
    ],
    [
      'a database in the URL, which is the authSource too',
      { server_url: 'db1,db2/app?replicaSet=rs', ...user },
      { url: 'mongodb://db1,db2/app?replicaSet=rs', database: 'app', auth: user },
    ],
    [
      'a database in the URL and another',
      { server_url: 'mongodb://db/admin', ...user, database: 'app' },
      { url: 'mongodb://db/admin', database: 'app', auth: user },
    ],
    [
      'an authSource in the URL',
      { server_url: 'mongodb://db/?authSource=admin', ...user, database: 'app' },
      { url: 'mongodb://db/?authSource=admin', database: 'app', auth: user },
    ],
    [
      'credentials in the URL',
      { server_url: 'mongodb://u:p%40@db/' },
      { url: 'mongodb://u:p%40@db/', database: 'sessman', authSource: 'sessman' },
    ],
    [
      'an SRV name, whose record may name the authSource',
      { server_url: 'mongodb+srv://cluster.example.net', ...user },
      { url: 'mongodb+srv://cluster.example.net/', database: 'sessman', auth: user },
    ],
    [
      'TLS parameters',
      { server_url: 'mongodb://db/?tls=true&tlsAllowInvalidHostnames=true' },
      { url: 'mongodb://db/?tls=true&tlsAllowInvalidHostnames=true', database: 'sessman' },
    ],
  ];
  for (const [what, settings, { url, database, authSource, auth }] of cases) {
    it(what, () => {
      const connection = mongoConnection(settings);
      expect(connection.url).to.equal(url);
      expect(connection.database).to.equal(database);
      expect(connection.options.authSource).to.equal(authSource);
      expect(connection.options.auth).to.deep.equal(auth);
      expect(connection.options.writeConcern).to.deep.equal({ w: 'majority', journal: true });
      expect(JSON.stringify(connection.description)).not.to.include('p@').and.not.to.include('p%40');
    });
  }

  it('a parameter of the URL takes the place of the same default, and none of the write concern', () => {
    const { options } = mongoConnection({ server_url: 'db/?socketTimeoutMS=9000&w=1&journal=false' });
    expect(options).not.to.have.property('socketTimeoutMS');
    expect(options.maxPoolSize).to.equal(50);
    expect(options.writeConcern).to.deep.equal({ w: 'majority', journal: true });
  });

  for (const option of ['retryWrites', 'retryReads'] as const) {
    it(`${option} of the URL is the operator's, and on without it`, () => {
      expect(mongoConnection({ server_url: 'db' }).options[option]).to.equal(true);
      for (const server_url of [`db/?${option}=false`, `mongodb://db/?${option.toLowerCase()}=false`]) {
        const { url, options } = mongoConnection({ server_url });
        expect(new MongoClient(url, options).options[option]).to.equal(false);
        expect(options.writeConcern).to.deep.equal({ w: 'majority', journal: true });
      }
    });
  }

  for (const parameters of [
    'w=0',
    'w=1&wtimeoutMS=5000',
    'W=0',
    'journal=false',
    'j=false',
    'JOURNAL=false&retryWrites=true',
    '%6aournal=false',
    'fsync=false',
    'w=0&w=0',
    'readPreference=secondary',
    'readPreference=nearest&maxStalenessSeconds=120',
    'readPreferenceTags=dc:ny&readPreferenceTags=',
  ]) {
    it(`no parameter of the URL weakens durability or moves reads off the primary: ${parameters}`, () => {
      const { url, options } = mongoConnection({ server_url: `db/app?${parameters}&appName=shop` });
      const effective = new MongoClient(url, options).options;
      expect(effective.writeConcern).to.include({ w: 'majority', j: true });
      expect(effective.readPreference?.toJSON()).to.deep.equal({ mode: 'primary' });
      expect(effective.appName).to.equal('shop');
    });
  }

  const operators: [string, object][] = [
    ['appName=shop', { appName: 'shop' }],
    ['compressors=zlib&zlibCompressionLevel=9', { compressors: ['zlib'], zlibCompressionLevel: 9 }],
    ['directConnection=true', { directConnection: true }],
    ['maxPoolSize=7&minPoolSize=0&maxConnecting=3', { maxPoolSize: 7, minPoolSize: 0, maxConnecting: 3 }],
    ['maxIdleTimeMS=60000', { maxIdleTimeMS: 60_000 }],
    ['socketTimeoutMS=9000&connectTimeoutMS=8000', { socketTimeoutMS: 9000, connectTimeoutMS: 8000 }],
    ['serverSelectionTimeoutMS=700&heartbeatFrequencyMS=900', { serverSelectionTimeoutMS: 700 }],
    ['replicaSet=rs&localThresholdMS=30', { replicaSet: 'rs', localThresholdMS: 30 }],
    ['tls=true&tlsAllowInvalidHostnames=true', { tls: true }],
    ['family=6', { family: 6 }],
    ['serverMonitoringMode=poll', { serverMonitoringMode: 'poll' }],
  ];
  for (const [parameters, expected] of operators) {
    it(`parameters of the URL that weaken nothing are the operator's: ${parameters}`, () => {
      const { url, options } = mongoConnection({ server_url: `db/?${parameters}` });
      expect(new MongoClient(url, options).options).to.deep.include(expected);
    });
  }

  it('reads may be made stricter', () => {
    const { url, options } = mongoConnection({ server_url: 'db/?readConcernLevel=linearizable' });
    expect(new MongoClient(url, options).options.readConcern?.level).to.equal('linearizable');
  });

  for (const option of [
    'raw=true',
    'promoteValues=false',
    'promoteBuffers=true',
    'useBigInt64=true',
    'ignoreUndefined=true',
    'forceServerObjectId=true',
    'monitorCommands=true',
    'dbName=other',
    'checkServerIdentity=false',
    'mongodbLogPath=stdout',
    '__skipPingOnConnect=true',
  ]) {
    it(`refuses an option of the driver that no URL is meant to have: ${option}`, () => {
      const [name] = option.split('=');
      expect(() => mongoConnection({ server_url: `mongodb://db/?${option}` }))
        .to.throw(ConnectionSettingError, `"${name}"`)
        .with.property('key', 'server_url');
    });
  }

  const wrong: [string, MongoSettings, string, RegExp][] = [
    ['a long database name', { server_url: `db/${'d'.repeat(64)}` }, 'server_url', /63 bytes/],
    [
      'one whose characters take more bytes',
      { server_url: `db/${'%C3%BC'.repeat(32)}` },
      'server_url',
      /63 bytes/,
    ],
    ['nothing', { server_url: ' ' }, 'server_url', /names no MongoDB server/],
    ['another scheme', { server_url: 'http://db:27017' }, 'server_url', /./],
    ['a port that is none', { server_url: 'db:port' }, 'server_url', /./],
    ['a port out of range', { server_url: 'db:99999' }, 'server_url', /./],
    ['an unknown parameter', { server_url: 'db/?replicset=rs' }, 'server_url', /replicset/],
    ['timeoutMS', { server_url: 'db/?timeoutMS=100' }, 'server_url', /timeoutMS/],
    [
      'reads of what may be rolled back',
      { server_url: 'db/?readConcernLevel=available' },
      'server_url',
      /majority/,
    ],
    [
      'a missing file',
      { server_url: 'db/?tls=true&tlsCAFile=/none/ca.pem' },
      'server_url',
      /tlsCAFile.*ENOENT/,
    ],
    ['an unescaped question mark', { server_url: 'mongodb://u:sec?secret@db' }, 'server_url', /./],
    ['one before an equals sign', { server_url: 'mongodb://u:sec?secret=x@db' }, 'server_url', /./],
    ['two users', { server_url: 'mongodb://u:secret@db', username: 'u' }, 'server_url', /username/],
    ['a password alone', { server_url: 'db', password: 'secret' }, 'password', /username/],
    ['an empty user', { server_url: 'db', username: '', password: 'secret' }, 'username', /empty/],
    ['a % that encodes nothing', { server_url: 'mongodb://u:secret%@db' }, 'server_url', /%/],
    ['an unescaped password', { server_url: 'mongodb://u:secret@secret@db' }, 'server_url', /./],
    ['an unescaped slash', { server_url: 'mongodb://u:sec/secret@db' }, 'server_url', /./],
    ['several SRV names', { server_url: 'mongodb+srv://a,b/' }, 'server_url', /./],
  ];
  for (const [what, settings, key, message] of wrong) {
    it(`refuses ${what}, and says nothing secret`, () => {
      expect(() => mongoConnection(settings))
        .to.throw(ConnectionSettingError, message)
        .that.satisfies(
          (error: ConnectionSettingError) => error.key === key && !error.message.includes('secret'),
        );
    });
  }
});
