import { Failure, messageOf } from '../errors.ts';

/** One of the things that start side by side. */
export type Part<T> = { name: string; start: (signal: AbortSignal) => Promise<T> };

/** What somebody who watches the start wants to know. */
export type StartProgress = {
  /** Replaces what was said last. */
  update(text: string): void;
  /** Stays. */
  note(text: string): void;
};

/**
 * Starts all parts at once; when one fails, gives the others up, stops those that are up with `stop`, and throws one Failure that
 * carries every part's own. The results are in the parts' order.
 */
export async function startTogether<T>(parts: Part<T>[], stop: (started: T) => Promise<unknown>, progress: StartProgress, signal?: AbortSignal): Promise<T[]> {
  const giveUp = new AbortController();
  const either = AbortSignal.any([giveUp.signal, ...(signal ? [signal] : [])]);
  const startedAt = performance.now();
  const waiting = new Set(parts.map((part) => part.name));
  const failures: unknown[] = [];
  const tell = () => waiting.size > 0 && progress.update(`starting ${[...waiting].join(', ')}`);
  tell();
  const results = await Promise.allSettled(
    parts.map(async (part) => {
      try {
        const started = await part.start(either);
        waiting.delete(part.name);
        if (!either.aborted) progress.note(`${part.name} is up after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
        tell();
        return started;
      } catch (error) {
        // What fails because it was given up is no failure of its own, and throws what it was given up with.
        if (!either.aborted || (error instanceof Failure && error !== either.reason)) failures.push(error);
        giveUp.abort(error);
        throw error;
      }
    }),
  );
  const up = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (up.length === parts.length && !either.aborted) return up;
  await Promise.allSettled(up.map(stop));
  signal?.throwIfAborted();
  throw combined(failures);
}

function combined(failures: unknown[]): unknown {
  const [first] = failures;
  if (failures.length < 2) return first;
  const facts = first instanceof Failure ? first : new Failure({ code: 'PLATFORM_NOT_STARTED', kind: 'unexpected', message: messageOf(first), cause: first });
  return new Failure({ code: facts.code, kind: facts.kind, message: failures.map(messageOf).join('\n'), hint: facts.hint, cause: new AggregateError(failures) });
}
