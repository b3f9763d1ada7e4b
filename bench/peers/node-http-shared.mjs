import { fork } from 'node:child_process';
import { Server } from 'node:http';
import { _createServerHandle } from 'node:net';

/*
 * node:http by hand in as many processes as WORKERS says, all accepting from one socket that their parent bound: what is
 * left of two workers when a server adds nothing of its own.
 */
if (process.send === undefined) {
  const handle = _createServerHandle('127.0.0.1', Number(process.env.PORT), 4);
  for (let i = 0; i < Number(process.env.WORKERS); i++) {
    const child = fork(process.argv[1]);
    child.once('message', () => child.send('serve', handle));
  }
} else {
  // serveByHand() listens on a port; here the handle takes its place.
  const { listen } = Server.prototype;
  process.once('message', (_message, handle) => {
    Server.prototype.listen = function () {
      return listen.call(this, handle, 4096);
    };
    import('./node-http.mjs');
  });
  // Its parent may be killed.
  process.once('disconnect', () => process.exit());
  process.send('ready');
}
