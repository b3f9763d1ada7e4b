import type { Host } from '../host.js';
import type { ProcessSettings, WorkerOptions, WorkerReport } from '../ipc/messages.js';
import type { Settings } from '../prepare/settings.js';

/** The settings that the supervisor uses. */
export function processSettings(
  settings: Settings,
  { logLevel, logFile, auditByLevel }: WorkerOptions,
): ProcessSettings {
  const { addresses, admin, workers, workerTimeout, workerMemory, stopGrace, stopTimeout } = settings;
  const { streamGrace, pidFile, log } = settings;
  const { level, format, file } = log;
  return {
    ...{
      addresses,
      admin,
      workers,
      workerTimeout,
      workerMemory,
      stopGrace,
      stopTimeout,
      streamGrace,
      pidFile,
    },
    maxDelay: settings.limits.maxDelay,
    log: { level: logLevel ?? level, format, file: logFile ?? file, auditByLevel },
  };
}

/** What a worker reports of a Host that is ready. */
export function workerReport(host: Host): WorkerReport {
  const { settings, configuration } = host;
  return {
    scheme: settings.tls === undefined ? 'http' : 'https',
    plugins: host.plugins.map(({ name, path, state, plugin }) => ({
      name,
      path,
      operators: plugin.definition.operators === true,
      state,
      folder: plugin.package_.folder,
      entry: plugin.package_.entry,
    })),
    open: host.openPlugins,
    pluginsFolder: settings.pluginsFolder,
    dataFolder: settings.dataFolder,
    configurationFiles: [...configuration.texts.keys()],
  };
}
