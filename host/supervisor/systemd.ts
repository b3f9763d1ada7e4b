import { spawn } from 'node:child_process';

/** The states that systemd is notified of; see sd_notify(3). */
export type Notification = 'READY=1' | 'RELOADING=1' | 'STOPPING=1';

/**
 * The connection to systemd: notifications, and the socket that it may have passed. Variables meant for this process
 * alone are removed from the environment, so that no worker uses them.
 */
export class Systemd {
  readonly #socket: string | undefined;
  /** The descriptor of the listening socket that systemd passed, if any (sd_listen_fds(3)). */
  readonly listenFd: number | undefined;
  /** Notifications are sent in order. */
  #sent: Promise<void> = Promise.resolve();

  constructor(env: NodeJS.ProcessEnv) {
    this.#socket = env.NOTIFY_SOCKET;
    const passed = env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) >= 1;
    this.listenFd = passed ? 3 : undefined;
    for (const name of ['NOTIFY_SOCKET', 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  }

  /** Does nothing where systemd expects no notification. Resolves when sent; never rejects. */
  notify(state: Notification | undefined, status: string): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return this.#sent;
    const message = [`--pid=${process.pid}`, `--status=${status}`, ...(state === undefined ? [] : [state])];
    this.#sent = this.#sent.then(() => send(socket, message));
    return this.#sent;
  }
}

/** Node has no Unix datagram sockets, so systemd's own tool sends the message. */
function send(socket: string, message: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const tool = spawn('systemd-notify', message, {
      env: { PATH: process.env.PATH, NOTIFY_SOCKET: socket },
      stdio: 'ignore',
    });
    tool.once('error', () => resolve());
    tool.once('exit', () => resolve());
  });
}
