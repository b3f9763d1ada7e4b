import type { Context } from 'koa';

/** The API keys that open a plugin which checks them itself: the plugin's own with `auth_type=plugin`, else the global ones. */
export interface PluginKeys {
  /** Whose they are: every plugin's, or this plugin's own. */
  readonly kind: 'global' | 'plugin';
  /** Whether a key is set. If not, no request can have the right one. */
  readonly areSet: boolean;
  /**
   * Whether the request has the right key: in its head or in its JSON body, or with `authorization`, in that header only.
   * Throws a 401 `wrong_api_key` for a wrong key.
   */
  opens(ctx: Context, place?: 'authorization'): boolean;
  /** Refuses a request without a key: throws 401 `api_key_required`, or 403 `no_global_key` while none is set. */
  require(): never;
}
