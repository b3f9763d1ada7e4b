export interface ListenOptions {
  /** 0 picks a free port, which all workers and later generations keep. */
  readonly port: number;
  /** An address or a host name of this machine; 127.0.0.1 by default. */
  readonly host?: string;
}

/** A listener that a plugin opens. */
export interface PluginListener {
  /** The same for every worker and generation: the address, and for port 0 whose it is and which of them. */
  readonly key: string;
  readonly plugin: string;
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
}

/** Where it is bound, or why it is not, as a sentence. */
export type BoundListener = { readonly host: string; readonly port: number } | { readonly error: string };

/** Binds the listeners of plugins. */
export interface ListenerLink {
  bind(listener: PluginListener): Promise<BoundListener>;
}
