/** Goes on taking from a source while whoever asked is busy with something else; holds at most `most` items that nobody has asked for yet. */
export async function* ahead<T>(source: AsyncGenerator<T, void, undefined>, most: number): AsyncGenerator<T, void, undefined> {
  const held: T[] = [];
  const state = { wake: (): void => undefined, isOver: false, isClosed: false };
  // Only one side ever waits: there is nothing to be had, or no room for more.
  const woken = (): Promise<void> => new Promise((resolve) => (state.wake = resolve));
  const taking = (async (): Promise<void> => {
    try {
      for await (const item of source) {
        held.push(item);
        state.wake();
        while (held.length >= most && !state.isClosed) await woken();
        if (state.isClosed) return;
      }
    } finally {
      state.isOver = true;
      state.wake();
    }
  })();
  taking.catch(() => undefined);
  try {
    for (;;) {
      while (held.length === 0 && !state.isOver) await woken();
      if (held.length === 0) break;
      const all = held.splice(0);
      state.wake();
      yield* all;
    }
    await taking;
  } finally {
    state.isClosed = true;
    state.wake();
    await taking.catch(() => undefined);
  }
}

export type Place = { topic: string; partition: number };

/** One result over many partitions, handed out partition by partition, in the result's order. */
export type ByPartition<T> = { of(place: Place): AsyncGenerator<T, void, void>; close(): Promise<void> };

/** `placeOf` says which partition an item is of; whoever asks for a partition has taken all that comes before it. The source begins at once. */
export function byPartition<T>(source: AsyncGenerator<T, void, undefined>, placeOf: (item: T) => Place): ByPartition<T> {
  let next: Promise<IteratorResult<T, void>> | undefined = source.next();
  // Whoever asks first gets the error.
  next.catch(() => undefined);
  return {
    async *of({ topic, partition }) {
      for (;;) {
        next ??= source.next();
        const found = await next;
        if (found.done) return;
        const place = placeOf(found.value);
        if (place.topic !== topic || place.partition !== partition) return;
        next = undefined;
        yield found.value;
      }
    },
    close: async () => void (await source.return()),
  };
}
