import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from './errors.ts';

export type PollOptions = {
  /** What is being waited for, as it reads after "waiting for". */
  what: string;
  deadlineMs: number;
  /** The least pause. An eighth of the time that was waited is the next one, up to `maxIntervalMs`: an end is seen at most so much later. */
  intervalMs: number;
  maxIntervalMs?: number;
  signal?: AbortSignal;
  /** Printed with the deadline's error: the command that shows more. */
  hint?: string;
};

/** Calls `probe` until it returns something other than `undefined`; throws a `deadline` Failure when time is up. */
export async function poll<T>(options: PollOptions, probe: (attempt: number) => Promise<T | undefined>): Promise<T> {
  const startedAt = performance.now();
  const longestMs = options.maxIntervalMs ?? options.intervalMs * 4;
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted();
    const found = await probe(attempt);
    if (found !== undefined) return found;
    const waitedMs = performance.now() - startedAt;
    const leftMs = options.deadlineMs - waitedMs;
    if (leftMs <= 0) {
      throw new Failure({
        code: 'DEADLINE_EXCEEDED',
        kind: 'deadline',
        message: `gave up waiting for ${options.what} after ${Math.round(options.deadlineMs / 1000)} s`,
        hint: options.hint,
      });
    }
    await pause(Math.min(Math.max(options.intervalMs, waitedMs / 8), longestMs, leftMs), options.signal);
  }
}

/** The only sleep in streamgauge; ends early, by rejecting, when `signal` aborts. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal });
}

/** Runs `attempt` again while it throws something with `retriable: true`, at most `times` times in all, with jittered growing pauses. */
export async function retry<T>(
  options: { times: number; firstPauseMs: number; signal?: AbortSignal; random?: () => number },
  attempt: (n: number) => Promise<T>,
): Promise<T> {
  const random = options.random ?? Math.random;
  for (let n = 1; ; n += 1) {
    try {
      return await attempt(n);
    } catch (error) {
      const retriable = typeof error === 'object' && error !== null && 'retriable' in error && error.retriable === true;
      if (!retriable || n >= options.times) throw error;
      const askedMs = 'retryAfterMs' in error && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : 0;
      // Many are told the same time: they must not all come back at once.
      const share = random();
      await pause(Math.max(askedMs * (1 + share / 4), options.firstPauseMs * 2 ** (n - 1) * (0.5 + share / 2)), options.signal);
    }
  }
}
