/** What `--help` says beyond the list of options, by command. */
export const manual: Readonly<Record<string, string>> = {
  '': `
Examples:
  plugin-server                            serve what ./plugin-server.ini says
  plugin-server new hello                  write a first plugin
  plugin-server start --watch              serve, and put each save in force
  plugin-server check -i /etc/ps.ini       see what is wrong before a reload
  plugin-server reload -i /etc/ps.ini      put it in force without dropping a request

Files:
  plugin-server.ini   the configuration; without it every setting has its default
  plugins/            a folder or file for each plugin
  data/               what plugins keep, such as sessman's sessions

Exit status:
  0  done, or stopped as asked
  1  the configuration is wrong, the port is taken, or a reload failed
  2  called wrongly`,
  start: `
Signals:
  SIGTERM, SIGINT   answer what is in flight and stop; a second one stops at once
  SIGHUP, SIGUSR1   reload`,
  check: `
Each problem is printed as FILE:LINE:COLUMN, with the line it stands in.`,
  new: `
Example:
  plugin-server new hello
  plugin-server start --watch`,
  reload: `
The server is found by its pid file: pidfile in [paths]. When the new configuration or a
plugin is wrong, the server goes on as it was, and the command says why and exits with 1.`,
  completion: `
Example:
  plugin-server completion bash >> ~/.bashrc`,
};
