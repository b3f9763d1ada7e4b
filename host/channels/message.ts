/** A value in transit: its topic and its JSON text. A topic is `DATA_NAME/CHANNEL`. */
export type Message = readonly [topic: string, json: string];

/** How many values of a topic were dropped in transit. */
export type Loss = readonly [topic: string, count: number];

/** How much may wait for one receiver of a topic. */
export interface Limits {
  readonly values: number;
  readonly bytes: number;
}

export const RECEIVER_LIMITS: Limits = { values: 1000, bytes: 4 * 1024 * 1024 };

/** Bytes of one value as JSON. */
export const MAX_MESSAGE = 65_536;
