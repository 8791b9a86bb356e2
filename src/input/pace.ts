import { pause } from '../poll.ts';

/** Ticks of 20 ms: a timer for each record would hold high rates back. */
const TICK_MS = 20;
const LARGEST_SLICE = 5000;

/** The same records in small groups, `rate` of them a second from the first on; what was held back when reading failed still comes. */
export async function* paced<T>(groups: AsyncIterable<Iterable<T>> | Iterable<Iterable<T>>, rate: number, signal: AbortSignal): AsyncGenerator<T[], void, undefined> {
  const startedAt = performance.now();
  let given = 0;
  let slice: T[] = [];
  const aheadMs = (): number => (given * 1000) / rate - (performance.now() - startedAt);
  try {
    for await (const group of groups) {
      for (const record of group) {
        while (slice.length >= LARGEST_SLICE || (slice.length > 0 && aheadMs() > 0)) yield slice.splice(0);
        for (let waitMs = aheadMs(); waitMs > 0; waitMs = aheadMs()) await pause(Math.min(Math.max(waitMs, TICK_MS), 1000), signal);
        slice.push(record);
        given += 1;
      }
      if (slice.length > 0) yield slice;
      slice = [];
    }
  } catch (error) {
    if (slice.length > 0) yield slice;
    throw error;
  }
}
