/** One operation of a history. Times are of one clock, in any unit. */
export interface Operation<Input, Output> {
  readonly input: Input;
  /** Undefined where nobody knows: it may take effect at any time after `invoked`, or never. */
  readonly output: Output | undefined;
  readonly invoked: number;
  /** When its output was known; Infinity if it never was. */
  readonly answered: number;
}

/** What a history is compared with: an object on which one operation happens after the other. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state after the operation; undefined where it cannot have that output. Returns `state` itself if nothing changes. */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
}

export interface Judgement<Input, Output> {
  readonly isLinearizable: boolean;
  /** The longest order that was found. Where it is not all, none of the operations that could be next had that output. */
  readonly order: readonly Operation<Input, Output>[];
}

/**
 * Whether the operations can be put into one order in which each lies between its call and its answer, and has the output
 * that the model gives it there (Wing and Gong, 1993, with Lowe's memory of what was tried in vain). A state must be JSON.
 */
export function judge<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): Judgement<Input, Output> {
  const operations = [...history].sort((a, b) => a.invoked - b.invoked);
  const done = operations.map(() => false);
  const order: Operation<Input, Output>[] = [];
  let longest: readonly Operation<Input, Output>[] = [];
  const triedInVain = new Set<string>();

  const search = (state: State, from: number): boolean => {
    let first = from;
    while (done[first]) first += 1;
    if (operations.every(({ output }, i) => done[i] || output === undefined)) return true;
    const position = `${done.map(Number).join('')} ${JSON.stringify(state)}`;
    if (triedInVain.has(position)) return false;
    for (const i of candidates(first)) {
      const operation = operations[i]!;
      const next = model.step(state, operation.input, operation.output);
      // What is unknown and changes nothing might as well never happen.
      if (next === undefined || (operation.output === undefined && next === state)) continue;
      done[i] = true;
      order.push(operation);
      if (order.length > longest.length) longest = [...order];
      if (search(next, first)) return true;
      order.pop();
      done[i] = false;
    }
    triedInVain.add(position);
    return false;
  };

  /** Those that may be next: none of the others was answered before they were called. */
  const candidates = (from: number): number[] => {
    const found: number[] = [];
    let firstAnswer = Number.POSITIVE_INFINITY;
    for (let i = from; i < operations.length && operations[i]!.invoked <= firstAnswer; i += 1) {
      if (done[i]) continue;
      found.push(i);
      firstAnswer = Math.min(firstAnswer, operations[i]!.answered);
    }
    return found;
  };

  const isLinearizable = search(model.initial, 0);
  return { isLinearizable, order: isLinearizable ? [...order] : longest };
}
