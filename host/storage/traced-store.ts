import type { DatabaseSpan } from '../../databases/spans.js';
import type { Store } from './store.js';

/** A store each of whose calls is a span of the request that makes it. */
export function traceStore(store: Store, span: DatabaseSpan): Store {
  return {
    get fenceProblem() {
      return store.fenceProblem;
    },
    clock: store.clock,
    now: () => store.now(),
    read: (place) => span('read', storageOf(place), () => store.read(place)),
    write: (place, content, condition) =>
      span('write', storageOf(place), () => store.write(place, content, condition)),
    page: (range) => span('page', storageOf(range.from), () => store.page(range)),
    removeExpired: (time, limit) => store.removeExpired(time, limit),
    close: () => store.close(),
  };
}

/** Places are `PLUGIN/STORAGE/KEY`; a key may say too much. */
function storageOf(place: string): string {
  return place.split('/', 2).join('/');
}
