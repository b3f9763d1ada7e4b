import { type KeeperOptions, type Listed, SessionKeeper, type Userid } from './keeper.js';

/** The keeper of a store: for the store's own methods, not for applications. */
export const keeper: unique symbol = Symbol('keeper');

/** What the stores of all middlewares offer beyond what their middleware asks for. */
export interface UserCalls<Data extends object> {
  readonly [keeper]: SessionKeeper<Data>;
  /** The live sessions of a user, as `options.userid` names users; the newest first. */
  list(userid: Userid): Promise<Listed[]>;
  /** Logs a user out everywhere, except for the session with the id `except`. Resolves to how many sessions it ended. */
  endAll(userid: Userid, except?: string): Promise<number>;
  /** Closes the pooled connections. */
  close(): void;
}

/** The class that a middleware's store extends: `Base`, which the middleware may demand, with the calls above. */
export function sessmanStore<Data extends object, Base extends object>(
  base: abstract new () => Base,
): new (
  options?: KeeperOptions<Data>,
) => Base & UserCalls<Data> {
  const Base = base as unknown as new () => object;
  class Store extends Base implements UserCalls<Data> {
    readonly [keeper]: SessionKeeper<Data>;

    constructor(options: KeeperOptions<Data> = {}) {
      super();
      this[keeper] = new SessionKeeper(options);
    }

    list(userid: Userid): Promise<Listed[]> {
      return this[keeper].list(userid);
    }

    endAll(userid: Userid, except?: string): Promise<number> {
      return this[keeper].endAll(userid, except);
    }

    close(): void {
      this[keeper].close();
    }
  }
  return Store as unknown as new (
    options?: KeeperOptions<Data>,
  ) => Base & UserCalls<Data>;
}
