import { Failure } from '../../errors.ts';
import { pause } from '../../poll.ts';
import { startProcess, type ProcessSpec, type Started } from './process.ts';

export type ServerSpec = ProcessSpec & {
  /** Resolves when the server answers; its signal aborts when the server died or time is up. */
  ready: (signal: AbortSignal) => Promise<unknown>;
  deadlineMs: number;
  /** Aborted: the start is given up and nothing is left of it. */
  signal?: AbortSignal;
};

/** Starts a server and returns it when it is ready; one that ends before, or is late, becomes a Failure with its log's tail. */
export async function startServer(spec: ServerSpec): Promise<Started> {
  spec.signal?.throwIfAborted();
  const started = await startProcess(spec);
  const over = new AbortController();
  const signals = [over.signal, AbortSignal.timeout(spec.deadlineMs), ...(spec.signal ? [spec.signal] : [])];
  const signal = AbortSignal.any(signals);
  const aborted = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  const died = started.exited.then(async (exit): Promise<never> => {
    throw await deathOf(started, exit.code, spec.logFile);
  });
  for (const loser of [aborted, died]) loser.catch(() => {});
  try {
    await Promise.race([spec.ready(signal), died, aborted]);
    return started;
  } catch (error) {
    // A probe that fails because the server just died is the death's symptom; the guard says so a moment later.
    const death = signal.aborted ? undefined : await Promise.race([died.catch((failure: unknown) => failure), pause(500).then(() => undefined)]);
    const late = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
    await started.stop();
    spec.signal?.throwIfAborted();
    throw death ?? (late ? await lateness(started, spec, error) : error);
  } finally {
    over.abort();
  }
}

/** What to report of a server that ended although nobody asked it to: code ENGINE_DIED, with the last lines of its log. */
export async function deathOf(started: Started, exitCode: number, logFile: string): Promise<Failure> {
  return new Failure({
    code: 'ENGINE_DIED',
    kind: 'remote',
    message: `${started.name} ended with exit code ${exitCode}; its log ends:\n${await started.logTail()}`,
    hint: `read ${logFile}`,
  });
}

async function lateness(started: Started, spec: ServerSpec, cause: unknown): Promise<Failure> {
  return new Failure({
    code: 'ENGINE_NOT_READY',
    kind: 'deadline',
    message: `${spec.name} was not ready after ${Math.round(spec.deadlineMs / 1000)} s; its log ends:\n${await started.logTail()}`,
    hint: `read ${spec.logFile}`,
    cause,
  });
}
