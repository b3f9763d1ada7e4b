import { openTelemetry, SpanKind } from './open-telemetry.js';

/** Calls an operation of a database in a span. `collection` says on what, in low cardinality. */
export type DatabaseSpan = <Result>(operation: string, collection: string, run: () => Result) => Result;

/** The spans of calls to a database (semantic conventions for database client spans); undefined without OpenTelemetry. */
export function databaseSpans(system: 'mongodb' | 'lmdb'): DatabaseSpan | undefined {
  const telemetry = openTelemetry();
  if (telemetry === undefined) return undefined;
  // LMDB is a file that this process has in its memory.
  const kind = system === 'mongodb' ? SpanKind.client : SpanKind.internal;
  return (operation, collection, run) =>
    telemetry.inChild(
      `${operation} ${collection}`,
      kind,
      { 'db.system.name': system, 'db.operation.name': operation, 'db.collection.name': collection },
      run,
    );
}
