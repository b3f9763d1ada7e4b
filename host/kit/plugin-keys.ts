import type { Context } from 'koa';

/** The API keys that open a plugin which checks them itself: the plugin's own with `auth_type=plugin`, else the global ones. */
export interface PluginKeys {
  /** Whose they are: every plugin's, or this plugin's own. */
  readonly kind: 'global' | 'plugin';
  /** Whether one is set. Without, no request can bring the right one. */
  readonly areSet: boolean;
  /**
   * Whether the request brings the right key: in its head or in its JSON body, or, with `authorization`, in that header
   * alone. Throws the 401 `wrong_api_key` for a wrong one.
   */
  opens(ctx: Context, place?: 'authorization'): boolean;
  /** Refuses a request without a key: throws 401 `api_key_required`, or 403 `no_global_key` while none is set. */
  require(): never;
}
