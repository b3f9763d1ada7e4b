import { type KeeperOptions, type Listed, SessionKeeper, type Userid } from './keeper.js';

/** The keeper of a store: for the store's methods, not for applications. */
export const keeper: unique symbol = Symbol('keeper');

/** What every store offers beyond what its middleware requires. */
export interface UserCalls<Data extends object> {
  readonly [keeper]: SessionKeeper<Data>;
  /** The user's live sessions, newest first. `options.userid` names users. */
  list(userid: Userid): Promise<Listed[]>;
  /** Ends all sessions of a user, except the one with the id `except`. Resolves to how many it ended. */
  endAll(userid: Userid, except?: string): Promise<number>;
  /** Closes the pooled connections. */
  close(): void;
}

/**
 * The class that a middleware's store extends: `Base`, which the middleware may require, with the calls above.
 *
 * @param middleware its name, which marks the sessions that its stores create
 */
export function sessmanStore<Data extends object, Base extends object>(
  middleware: string,
  base: abstract new () => Base,
): new (
  options?: KeeperOptions<Data>,
) => Base & UserCalls<Data> {
  const Base = base as unknown as new () => object;
  class Store extends Base implements UserCalls<Data> {
    readonly [keeper]: SessionKeeper<Data>;

    constructor(options: KeeperOptions<Data> = {}) {
      super();
      this[keeper] = new SessionKeeper(middleware, options);
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
