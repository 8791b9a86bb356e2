import { Failure, messageOf } from '../../errors.ts';
import { pause } from '../../poll.ts';
import type { Log } from '../contract.ts';
import type { Started } from './process.ts';
import { deathOf } from './server.ts';

export type SuperviseOptions = {
  name: string;
  logFile: string;
  log: Log;
  /** Starts it once, ready on return. */
  start: (signal: AbortSignal | undefined) => Promise<Started>;
  signal?: AbortSignal;
  /** Called at each death, before it is started again. */
  onDeath?(): void;
};

/** A server that is started again when it dies. */
export type Supervised = {
  pid(): number;
  alive(): boolean;
  /** Resolves only if it cannot be kept alive, with why. */
  failed: Promise<Failure>;
  /** Ends it and resolves when it is back; rejects if it cannot be kept alive or is stopped. */
  restart(): Promise<void>;
  stop(): Promise<void>;
};

/** What dies more often than this within the time will not be helped by one more start. */
const limits = { deaths: 5, withinMs: 180_000, firstPauseMs: 500, longestPauseMs: 15_000 };

/** Starts a server and starts it again, with growing pauses, whenever it ends unasked; each death goes to the log with its tail. */
export async function supervise(options: SuperviseOptions): Promise<Supervised> {
  const stopping = new AbortController();
  const failed = Promise.withResolvers<Failure>();
  let current = await options.start(options.signal);
  let next = Promise.withResolvers<void>();
  const watch = async (): Promise<void> => {
    let deaths: number[] = [];
    for (;;) {
      const exit = await current.exited;
      if (stopping.signal.aborted) return;
      options.onDeath?.();
      // What was asked for is no death.
      let failure = exit.asked ? undefined : await deathOf(current, exit.code, options.logFile);
      for (let back = false; !back; ) {
        if (failure) {
          deaths = [...deaths.filter((at) => at > Date.now() - limits.withinMs), Date.now()];
          options.log(failure.message);
          if (deaths.length > limits.deaths) return failed.resolve(failure);
        }
        try {
          if (failure) await pause(Math.min(limits.firstPauseMs * 2 ** (deaths.length - 1), limits.longestPauseMs), stopping.signal);
          current = await options.start(stopping.signal);
          back = true;
        } catch (error) {
          if (stopping.signal.aborted) return;
          failure = error instanceof Failure ? error : new Failure({ code: 'ENGINE_DIED', kind: 'remote', message: messageOf(error), cause: error });
        }
      }
      options.log(`${options.name} is back (pid ${current.pid})`);
      next.resolve();
      next = Promise.withResolvers<void>();
    }
  };
  const watching = watch();
  return {
    pid: () => current.pid,
    alive: () => current.alive(),
    failed: failed.promise,
    restart: async () => {
      const back = next.promise;
      await current.stop();
      const failure = await Promise.race([back, failed.promise, watching.then(() => new Error(`${options.name} was stopped`))]);
      if (failure) throw failure;
    },
    stop: async () => {
      stopping.abort();
      await current.stop();
      await watching;
    },
  };
}
