/** Section, key, and further keys or indexes into it. A plugin's parameters are in `plugin_parms` under its name. */
export type SettingPath = readonly (string | number)[];

/**
 * A mistake in a setting that no schema can find, such as the path of a missing folder. Thrown in a plugin's setup, it stops the
 * start, and the message points at the setting in the INI or JSON file.
 *
 * ```ts
 * throw new SettingError(['file_server', 'documents'], 'the folder "html" does not exist', 'create it, or write the path of another');
 * ```
 */
export class SettingError extends Error {
  override readonly name = 'SettingError';

  constructor(
    readonly setting: SettingPath,
    /** What is wrong. */
    message: string,
    /** What to write instead. */
    readonly hint?: string,
  ) {
    super(message);
  }
}
