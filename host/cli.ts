#!/usr/bin/env node
import { Argument, Command, CommanderError, Option } from 'commander';
import { shells } from './commands/completion.js';
import { manual } from './commands/manual.js';
import { version } from './package-layout.js';
import { type IniFile, iniFileOf } from './prepare/ini-file.js';

/** Of a command that succeeded; of one that failed and has said why; of wrong usage. */
const exitCodes = { done: 0, failed: 1, usage: 2 };

const program = new Command('plugin-server')
  .description('Serves a folder of plugins over HTTP, configured by one INI file.')
  .usage('[command] [options]')
  .version(version, '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print this help')
  .helpCommand(false)
  .showHelpAfterError('Run plugin-server --help for a list.')
  .addHelpText('after', manual['']!)
  .exitOverride();

command('start', 'start the server (the default command)')
  .option('-l, --log <file>', 'write the log to this file')
  .addOption(
    new Option('-v, --level <level>', 'the log level').choices([
      'trace',
      'debug',
      'info',
      'warn',
      'error',
      'fatal',
      'silent',
    ]),
  )
  .option('--watch', 'reload when the configuration or a plugin changes')
  .option('--safe', 'load only the plugins that "safe" in [main] lists')
  .option(
    '--import <module>',
    'load this module first in each worker, as with node --import, for OpenTelemetry for example',
  )
  .action(async (options, self) => finish((await import('./commands/start.js')).start(ini(self), options)));

command('check', 'report every problem of the configuration and the plugins').action(async (_options, self) =>
  finish((await import('./commands/check.js')).check(ini(self))),
);

command('routes', 'list every route, its plugin, and the key it requires').action(async (_options, self) =>
  finish((await import('./commands/routes.js')).routes(ini(self))),
);

command('new', 'create a working plugin, with a test, in the plugins folder')
  .argument('<name>', 'the name of the plugin and of its path')
  .action(async (name, _options, self) =>
    finish((await import('./commands/new.js')).scaffold(name, ini(self))),
  );

command('import', 'convert the pserve.ini of a Python server, and print what differs')
  .argument('<file>', 'the pserve.ini to read')
  .action(async (file, _options, self) =>
    finish((async () => (await import('./commands/import/index.js')).importOriginal(file, ini(self)))()),
  );

command('backup', 'copy what plugins have stored, while the server runs')
  .argument('<folder>', 'a folder that does not exist yet')
  .action(async (folder, _options, self) =>
    finish((await import('./commands/backup.js')).backup(folder, ini(self))),
  );

command('reload', 'reload the running server, and wait for the result').action(async (_options, self) =>
  finish((await import('./commands/reload.js')).reload(ini(self))),
);

command('stop', 'stop the running server, and wait until it has stopped').action(async (_options, self) =>
  finish((await import('./commands/stop.js')).stop(ini(self))),
);

bare('completion', 'print a script that completes commands and options in a shell')
  .addArgument(new Argument('<shell>', 'the shell').choices(shells))
  .action(async (shell) => {
    const words = program.commands.map((each) => ({
      name: each.name(),
      options: each.options.flatMap(({ short, long }) => [short, long]).filter((name) => name !== undefined),
    }));
    (await import('./commands/completion.js')).completion(shell, words);
  });

try {
  await program.parseAsync(withDefaultCommand(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
}

/** A command that works with an INI file. */
function command(name: string, description: string): Command {
  return bare(name, description).option(
    '-i, --ini-file <file>',
    'the configuration file',
    'plugin-server.ini',
  );
}

function bare(name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .addHelpText('after', manual[name] ?? '')
    .version(version, '-V, --version', 'print the version');
}

function ini(self: Command): IniFile {
  return iniFileOf(self.opts().iniFile, self.getOptionValueSource('iniFile') === 'default');
}

async function finish(succeeded: Promise<boolean>): Promise<void> {
  process.exitCode = (await succeeded) ? exitCodes.done : exitCodes.failed;
}

/**
 * Options alone are those of `start`; a command may also follow its options. A first word is always a command, so that a
 * misspelt one is found.
 */
function withDefaultCommand(args: readonly string[]): readonly string[] {
  const [first] = args;
  if (first !== undefined && (first === '-' || !first.startsWith('-'))) {
    // Behind a word that is not a command, --help would print help as if the word were right.
    return program.commands.some((each) => each.name() === first) ? args : [first];
  }
  if (first !== undefined && /^(-h|--help|-V|--version)$/.test(first)) return args;
  const options = program.commands.flatMap((each) => each.options);
  const takingValue = options.flatMap(({ required, short, long }) => (required ? [short, long] : []));
  const at = args.findIndex(
    (word, i) => program.commands.some((each) => each.name() === word) && !takingValue.includes(args[i - 1]),
  );
  return at < 0 ? ['start', ...args] : [args[at]!, ...args.slice(0, at), ...args.slice(at + 1)];
}
