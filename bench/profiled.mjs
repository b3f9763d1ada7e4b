// Loaded into each process of a profiled server: writes a CPU profile into the folder PROFILE_FOLDER at its exit.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', { interval: 500 });
session.post('Profiler.start');

process.once('exit', () => {
  session.post('Profiler.stop', (_error, { profile }) => {
    writeFileSync(join(process.env.PROFILE_FOLDER, `${process.pid}.cpuprofile`), JSON.stringify(profile));
  });
});

// Only an orderly exit is one, and not every server has one of its own.
process.on('SIGTERM', () => {
  if (process.listenerCount('SIGTERM') === 1) process.exit();
});
