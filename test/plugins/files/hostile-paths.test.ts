import { execFileSync } from 'node:child_process';
import { symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { parseRequestPath } from '../../../plugins/files/request-path.js';
import { requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const SECRET = 'the-secret-outside';

/** Below /html. Each would, read in some careless way, lead to a file of the table in `before` that must not be served. */
const hostile = [
  // Steps up, plain and encoded, once and more often, with either separator.
  '/../secret.txt',
  '/../../secret.txt',
  '/sub/../../secret.txt',
  '/./../secret.txt',
  '/..',
  '/../',
  '/../html',
  '/..;/secret.txt',
  '/%2e%2e/secret.txt',
  '/%2E%2E/secret.txt',
  '/.%2e/secret.txt',
  '/%2e./secret.txt',
  '/%2e%2e%2fsecret.txt',
  '/..%2fsecret.txt',
  '/..%2Fsecret.txt',
  '/sub%2f..%2f..%2fsecret.txt',
  '/%2e%2e%5csecret.txt',
  '/..%5csecret.txt',
  '/..\\secret.txt',
  '/..\\..\\secret.txt',
  '/sub\\..\\..\\secret.txt',
  '/%252e%252e/secret.txt',
  '/%252e%252e%252fsecret.txt',
  '/..%252fsecret.txt',
  '/%25252e%25252e/secret.txt',
  '/..%255csecret.txt',
  '/....//secret.txt',
  '/.../secret.txt',
  '/....\\\\secret.txt',
  // Dots and separators in encodings that are not UTF-8, or only look like them.
  '/%c0%ae%c0%ae/secret.txt',
  '/%c0%ae%c0%ae%c0%afsecret.txt',
  '/..%c0%afsecret.txt',
  '/..%c1%9csecret.txt',
  '/%e0%80%ae%e0%80%ae/secret.txt',
  '/%u002e%u002e/secret.txt',
  '/%uff0e%uff0e/secret.txt',
  '/..%ef%bc%8fsecret.txt',
  '/%ef%bc%8e%ef%bc%8e/secret.txt',
  '/..%e2%88%95secret.txt',
  '/\xc0\xae\xc0\xae/secret.txt',
  // Broken percent signs.
  '/%',
  '/%2',
  '/%zz',
  '/%ff',
  '/a.txt%',
  // Ends of strings, and other control characters.
  '/a.txt%00',
  '/a.txt%00.md',
  '/..%00/secret.txt',
  '/%00',
  '/secret.txt%00.html',
  '/a.txt%0a',
  '/a.txt%0d%0aX-Injected:%20yes',
  '/a.txt%1f',
  '/a.txt%7f',
  // Absolute paths.
  '//etc/passwd',
  '//secret.txt',
  '/%2fetc%2fpasswd',
  '/%2Fetc/passwd',
  '/%5cetc%5cpasswd',
  '/C:%5cWindows%5cwin.ini',
  '/C:/Windows/win.ini',
  '/%5c%5cserver%5cshare%5cfile',
  '/file:///etc/passwd',
  '/~/secret.txt',
  '/~root/.profile',
  // Hidden names.
  '/.env',
  '/%2eenv',
  '/.git/config',
  '/.git/',
  '/%2egit/config',
  '/sub/.htpasswd',
  '/.',
  '/./a.txt',
  '/sub/./../a.txt',
  '/%2e/a.txt',
  // Links that lead out, to hidden files, in circles, or nowhere.
  '/link-to-file.txt',
  '/link-to-folder/secret.txt',
  '/link-to-folder/',
  '/link-to-folder',
  '/link-to-root/etc/passwd',
  '/link-to-hidden.txt',
  '/link-in-a-circle',
  '/link-to-nothing',
  '/link-to-device',
  // Things that are no files.
  '/pipe',
  '/socket',
  // Shapes of names.
  '//a.txt',
  '/a.txt/',
  '/a.txt//',
  '/a.txt/b',
  '/sub//page.txt',
  '/sub',
  '/sub/',
  `/${'a'.repeat(300)}`,
  `/${'a/'.repeat(2000)}`,
  '/a.txt::$DATA',
  '/a.txt%20',
  '/a.txt.',
  '/CON',
  '/a.txt%3f',
  '/a.txt%23',
];

describe('hostile paths', () => {
  let server: TestServer;
  const socket = createServer();

  before(async () => {
    server = await startServer({
      ini: '[file_server]\ndocuments=html:public\n',
      files: {
        'secret.txt': SECRET,
        'elsewhere/secret.txt': SECRET,
        'public/a.txt': 'plain',
        'public/sub/page.txt': 'page',
        'public/sub/.htpasswd': SECRET,
        'public/.env': SECRET,
        'public/.git/config': SECRET,
      },
    });
    const at = (name: string) => join(server.folder, 'public', name);
    await symlink('../secret.txt', at('link-to-file.txt'));
    await symlink(join(server.folder, 'elsewhere'), at('link-to-folder'));
    await symlink('/', at('link-to-root'));
    await symlink('.env', at('link-to-hidden.txt'));
    await symlink('link-in-a-circle', at('link-in-a-circle'));
    await symlink('not-there', at('link-to-nothing'));
    await symlink('/dev/zero', at('link-to-device'));
    execFileSync('mkfifo', [at('pipe')]);
    await new Promise<void>((resolve) => socket.listen(at('socket'), resolve));
  });

  after(async () => {
    await server.close();
    await new Promise((resolve) => socket.close(resolve));
  });

  it('serves the files beside the traps', async () => {
    for (const [path, text] of [
      ['/html/a.txt', 'plain'],
      ['/html/sub/page.txt', 'page'],
      ['/html/%61.txt', 'plain'],
      ['/html/a.txt?x=/../secret.txt', 'plain'],
    ] as const) {
      const answer = await requestRaw(server.url, path);
      expect(answer.status, path).to.equal(200);
      expect(answer.body, path).to.equal(text);
    }
  });

  for (const path of hostile) {
    const shown = path.length > 60 ? `${path.slice(0, 60)}…` : path;
    for (const method of ['GET', 'HEAD']) {
      it(`${method} ${JSON.stringify(shown)} finds nothing`, async () => {
        const answer = await requestRaw(server.url, `/html${path}`, { method });
        expect(answer.status).to.be.oneOf([400, 404]);
        expect(answer.headers.has('x-injected')).to.equal(false);
        expect(answer.headers.has('etag')).to.equal(false);
        if (method === 'GET') {
          expect(JSON.parse(answer.body)).to.include.keys('error', 'code');
          expect(answer.body).not.to.contain(SECRET).and.not.to.contain(server.folder);
        }
      });
    }
  }

  it('finds nothing outside by any path put together from the pieces of such attacks', async () => {
    const piece = fc.constantFrom(
      ...[
        '/',
        '//',
        '\\',
        '%2f',
        '%5c',
        '..',
        '.',
        '%2e',
        '%2e%2e',
        '%252e',
        '%00',
        '%0a',
        '%c0%ae',
        '%',
        ';',
        ':',
        '?',
        '#',
      ],
      ...[
        'a.txt',
        'sub',
        'page.txt',
        'secret.txt',
        'elsewhere',
        'html',
        'public',
        '.env',
        'link-to-folder',
        'link-to-root',
        ' ',
      ],
    );
    const path = fc
      .array(piece, { minLength: 1, maxLength: 10 })
      .map((pieces) => pieces.join('').replaceAll(' ', '%20'));
    await fc.assert(
      fc.asyncProperty(path, async (attempt) => {
        const answer = await requestRaw(server.url, `/html/${attempt}`);
        expect(answer.status).to.be.oneOf([200, 301, 400, 404]);
        expect(answer.body).not.to.contain(SECRET).and.not.to.contain(server.folder);
        if (answer.status === 200) expect(answer.body).to.be.oneOf(['plain', 'page']);
      }),
      { numRuns: 500 },
    );
  });

  it('finds nothing by absolute targets with steps in them', async () => {
    for (const path of [
      '/html/../secret.txt',
      '/html/..\\secret.txt',
      '/html/%2e%2e/secret.txt',
      '/html/..%2fsecret.txt',
    ]) {
      const answer = await requestRaw(server.url, `${server.url}${path}`);
      expect(answer.status, path).to.be.oneOf([400, 404]);
      expect(answer.body).not.to.contain(SECRET);
    }
  });
});

describe('names that Windows takes for something else', () => {
  for (const name of [
    'a.txt::$DATA',
    'C:',
    'a.txt.',
    'a.txt%20',
    'CON',
    'nul.txt',
    'Com1',
    'LPT9.log',
    'aux.',
    'CONIN$',
  ]) {
    it(`${name} is refused there, and a name like any other elsewhere`, () => {
      expect(parseRequestPath(`/sub/${name}`, true)).to.equal(undefined);
      expect(parseRequestPath(`/sub/${name}`, false)?.names).to.deep.equal(['sub', decodeURIComponent(name)]);
    });
  }

  for (const name of ['control.txt', 'connect', 'com10', 'auxiliary.md', 'null.js']) {
    it(`${name} is a name like any other`, () => {
      expect(parseRequestPath(`/${name}`, true)?.names).to.deep.equal([name]);
    });
  }
});
