/** The text of `--help` after the list of options, by command. */
export const manual: Readonly<Record<string, string>> = {
  '': `
Examples:
  plugin-server                            start the server with ./plugin-server.ini
  plugin-server new hello                  create a first plugin
  plugin-server start --watch              start the server, and reload on each save
  plugin-server check -i /etc/ps.ini       find problems before a reload
  plugin-server reload -i /etc/ps.ini      apply changes without dropping a request

Files:
  plugin-server.ini   the configuration; without it, every setting has its default
  plugins/            one folder or file per plugin
  data/               what plugins store, such as sessman's sessions

Exit status:
  0  success, or stopped on request
  1  the configuration is not valid, the port is in use, or a reload failed
  2  the command line is not valid`,
  start: `
Signals:
  SIGTERM, SIGINT   finish the requests in flight, then stop; a second signal stops at once
  SIGHUP, SIGUSR1   reload`,
  check: `
Each problem is printed with FILE:LINE:COLUMN and the line itself.`,
  new: `
Example:
  plugin-server new hello
  plugin-server start --watch`,
  import: `
Keeps the comments, and prints each thing that behaves differently, with its line. The command
never overwrites a file: -i names another file to write.

Example:
  plugin-server import pserve.ini
  plugin-server check`,
  backup: `
Copies the values that plugins keep in storage, and the times of jobs. To restore, stop the
server, put the copy in the place of _storage in the data folder, and start the server. What
plugins keep elsewhere has its own way, such as sessman-backup for sessions.

Example:
  plugin-server backup /backups/plugins-$(date +%F)`,
  reload: `
The command finds the server by its pid file: pidfile in [paths]. If the new configuration or
a plugin has a problem, the server continues unchanged. The command then prints the problem
and exits with status 1.`,
  completion: `
Example:
  plugin-server completion bash >> ~/.bashrc`,
};
