import {
  type IncomingMessage,
  type OutgoingHttpHeaders,
  ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';

type Value = number | string | readonly string[];

/**
 * Node's response, but headers that are set one by one wait in a flat list, which the head can be written from in one
 * go: Node's own store of them, and its merge with those given to `writeHead`, cost several times as much. What the list
 * cannot hold (several values under one name, a removal) moves all of it into Node's store, for good.
 */
export abstract class BufferedHeaders extends ServerResponse<IncomingMessage> {
  /** `[name, value, …]`, no name twice; undefined once they are in Node's store. */
  #draft: (string | number)[] | undefined = [];

  override setHeader(name: string, value: Value): this {
    const draft = this.#draft;
    if (draft === undefined || typeof value === 'object' || this.headersSent) {
      this.#settle();
      return super.setHeader(name, value);
    }
    validateHeaderName(name);
    validateHeaderValue(name, value as string);
    const at = indexIn(draft, name);
    if (at < 0) draft.push(name, value);
    else draft.splice(at, 2, name, value);
    return this;
  }

  /** As `setHeader`, for a header that is known to be well-formed and not to be set yet. */
  addHeader(name: string, value: string | number): void {
    if (this.#draft === undefined) this.setHeader(name, value);
    else this.#draft.push(name, value);
  }

  override hasHeader(name: string): boolean {
    return this.#draft === undefined ? super.hasHeader(name) : indexIn(this.#draft, name) >= 0;
  }

  override getHeader(name: string) {
    const draft = this.#draft;
    if (draft === undefined) return super.getHeader(name);
    const at = indexIn(draft, name);
    return at < 0 ? undefined : draft[at + 1];
  }

  override getHeaderNames(): string[] {
    return this.#draft === undefined
      ? super.getHeaderNames()
      : namesIn(this.#draft).map((name) => name.toLowerCase());
  }

  /** Node's; its published types leave it out. */
  getRawHeaderNames(): string[] {
    return this.#draft === undefined ? rawHeaderNames.call(this) : namesIn(this.#draft);
  }

  override getHeaders() {
    const draft = this.#draft;
    if (draft === undefined) return super.getHeaders();
    const headers = Object.create(null) as OutgoingHttpHeaders;
    for (let i = 0; i < draft.length; i += 2) headers[nameAt(draft, i).toLowerCase()] = draft[i + 1]!;
    return headers;
  }

  override appendHeader(name: string, value: string | readonly string[]): this {
    this.#settle();
    return super.appendHeader(name, value);
  }

  override removeHeader(name: string): void {
    this.#settle();
    super.removeHeader(name);
  }

  override writeHead(status: number, ...rest: unknown[]): this {
    if (this.#draft !== undefined && rest.length === 0 && !this.headersSent) {
      return writeHead.call(this, status, this.#draft) as this;
    }
    this.#settle();
    return writeHead.call(this, status, ...rest) as this;
  }

  #settle(): void {
    const draft = this.#draft;
    // After the head has gone out nothing can be set any more, and the list still says what it held.
    if (draft === undefined || this.headersSent) return;
    this.#draft = undefined;
    for (let i = 0; i < draft.length; i += 2) super.setHeader(nameAt(draft, i), draft[i + 1]!);
  }
}

const rawHeaderNames = (ServerResponse.prototype as unknown as { getRawHeaderNames(): string[] })
  .getRawHeaderNames;
const writeHead = ServerResponse.prototype.writeHead as (this: ServerResponse, ...args: unknown[]) => unknown;

type Draft = readonly (string | number)[];

function indexIn(draft: Draft, name: string): number {
  for (let i = 0; i < draft.length; i += 2) {
    const other = nameAt(draft, i);
    if (other === name || (other.length === name.length && other.toLowerCase() === name.toLowerCase()))
      return i;
  }
  return -1;
}

function nameAt(draft: Draft, i: number): string {
  return draft[i] as string;
}

function namesIn(draft: Draft): string[] {
  return draft.filter((_item, i) => i % 2 === 0) as string[];
}
