/** A command as completion sees it. */
export interface CommandWords {
  readonly name: string;
  /** `--ini-file`, `-i`. */
  readonly options: readonly string[];
}

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** Prints a script that makes a shell complete the commands and their options. */
export function completion(shell: Shell, commands: readonly CommandWords[]): void {
  process.stdout.write({ bash, zsh, fish }[shell](commands));
}

function bash(commands: readonly CommandWords[]): string {
  return `# plugin-server completion bash >> ~/.bashrc
_plugin_server() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words
  case $before in
    -i | --ini-file | -l | --log) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  if ((COMP_CWORD == 1)); then
    words='${commands.map(({ name }) => name).join(' ')}'
  else
    case \${COMP_WORDS[1]} in
${commands.map(({ name, options }) => `      ${name}) words='${options.join(' ')}' ;;`).join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _plugin_server plugin-server
`;
}

/** zsh runs bash's, by its own bashcompinit. */
function zsh(commands: readonly CommandWords[]): string {
  return `# plugin-server completion zsh >> ~/.zshrc
autoload -U +X bashcompinit && bashcompinit
${bash(commands).split('\n').slice(1).join('\n')}`;
}

function fish(commands: readonly CommandWords[]): string {
  const lines = commands.flatMap(({ name, options }) => [
    `complete -c plugin-server -n __fish_use_subcommand -f -a ${name}`,
    ...options.map((option) => {
      const word = option.startsWith('--') ? `-l ${option.slice(2)}` : `-s ${option.slice(1)}`;
      const takesFile = /^(?:--ini-file|--log|-i|-l)$/.test(option) ? ' -r' : '';
      return `complete -c plugin-server -n '__fish_seen_subcommand_from ${name}' ${word}${takesFile}`;
    }),
  ]);
  return `# plugin-server completion fish > ~/.config/fish/completions/plugin-server.fish\n${lines.join('\n')}\n`;
}
