/** Section, key, and further keys or indexes into it. A plugin's parameters are in `plugin_parms` under its name. */
export type SettingPath = readonly (string | number)[];

/**
 * A setting that is wrong in a way that no schema can see, such as the path of a folder that is not there. Thrown in a
 * plugin's setup, it stops the start, and is shown at the setting's place in the INI or JSON file.
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
