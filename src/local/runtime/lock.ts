import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { Failure } from '../../errors.ts';
import { runtimeFile } from './files.ts';

export type LockOptions = {
  /** Any Python >= 3.10: Node has no file lock that the kernel frees when its owner dies. */
  python: string;
  file: string;
  /** Called with the owner's pid when somebody else has the lock and this call waits for it; without it, it does not wait. */
  onWait?: (ownerPid: string) => void;
  signal?: AbortSignal;
};

/** A held lock; also freed by the end of this process, whatever ends it. */
export type Lock = { release(): Promise<void> };

const lockFile = runtimeFile('lock.py');

/** Takes the lock; `{ ownerPid }` if another process has it and `onWait` is not given. */
export async function takeLock(options: LockOptions): Promise<Lock | { ownerPid: string }> {
  options.signal?.throwIfAborted();
  await mkdir(dirname(options.file), { recursive: true, mode: 0o700 });
  const args = ['-I', '-S', lockFile, options.file, String(process.pid), options.onWait ? 'wait' : 'now'];
  const holder = spawn(options.python, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
  const ended = once(holder, 'exit').catch((error: unknown) => [error]);
  const giveUp = () => holder.kill('SIGKILL');
  options.signal?.addEventListener('abort', giveUp, { once: true });
  let problem = '';
  try {
    for await (const line of createInterface({ input: holder.stdout })) {
      if (line === 'locked') return heldBy(holder, ended);
      if (line.startsWith('failed ')) {
        problem = line.slice('failed '.length);
        continue;
      }
      const ownerPid = line.slice('held '.length);
      if (!options.onWait) return { ownerPid };
      options.onWait(ownerPid);
    }
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
  options.signal?.throwIfAborted();
  const [cause] = await ended;
  throw new Failure({ code: 'LOCK_FAILED', kind: 'unexpected', message: `could not lock ${options.file}${problem && `: ${problem}`}`, cause });
}

function heldBy(holder: ReturnType<typeof spawn>, ended: Promise<unknown>): Lock {
  // A lock is no reason to keep the process alive.
  holder.unref();
  for (const stream of [holder.stdin, holder.stdout]) (stream as { unref?: () => void } | null)?.unref?.();
  return {
    release: async () => {
      holder.ref();
      holder.stdin?.end();
      await ended;
    },
  };
}
