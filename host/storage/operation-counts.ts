import { Counter, type Registry } from 'prom-client';

export type Operation = 'get' | 'set' | 'delete' | 'update' | 'entries';

/** Counts of one storage. Adding one costs an addition, since a `get` costs little more. */
export class StorageCounts {
  readonly ok: Record<Operation, number> = { get: 0, set: 0, delete: 0, update: 0, entries: 0 };
  /** By `OPERATION CODE`. */
  readonly failed = new Map<string, number>();

  fail(operation: Operation, code: string): void {
    const key = `${operation} ${code}`;
    this.failed.set(key, (this.failed.get(key) ?? 0) + 1);
  }
}

/** The metric of the operations on all storages. */
export class OperationCounts {
  readonly #storages: {
    readonly plugin: string;
    readonly storage: string;
    readonly counts: StorageCounts;
  }[] = [];

  constructor(registry: Registry) {
    const collect = (counter: Counter<string>) => this.#collect(counter);
    new Counter({
      name: 'plugin_server_storage_operations_total',
      help: "Operations on plugins' storages, by outcome: ok, or the code of the error.",
      labelNames: ['plugin', 'storage', 'operation', 'outcome'],
      registers: [registry],
      collect() {
        collect(this);
      },
    });
  }

  of(plugin: string, storage: string): StorageCounts {
    const counts = new StorageCounts();
    this.#storages.push({ plugin, storage, counts });
    return counts;
  }

  #collect(counter: Counter<string>): void {
    counter.reset();
    for (const { plugin, storage, counts } of this.#storages) {
      for (const [operation, count] of Object.entries(counts.ok)) {
        if (count > 0) counter.inc({ plugin, storage, operation, outcome: 'ok' }, count);
      }
      for (const [key, count] of counts.failed) {
        const [operation = '', outcome = ''] = key.split(' ');
        counter.inc({ plugin, storage, operation, outcome }, count);
      }
    }
  }
}
