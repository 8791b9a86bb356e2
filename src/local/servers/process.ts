import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { Failure } from '../../errors.ts';
import { runtimeFile } from '../runtime/files.ts';

export type ProcessSpec = {
  /** As it reads in messages: `Kafka broker 1`. */
  name: string;
  /** Any Python >= 3.10: it runs runtime/guard.py, which keeps the command from outliving this process. */
  python: string;
  command: string;
  args: string[];
  /** Added to a minimal environment (PATH, HOME, locale); never visible in argv. */
  env?: Record<string, string>;
  cwd?: string;
  /** stdout and stderr go there; what an earlier start wrote is kept as `<logFile>.1`. */
  logFile: string;
  /** Between SIGTERM and SIGKILL; 10 s unless given. */
  graceMs?: number;
  /** Gives it this process's whole environment instead of the minimal one: for installers, which heed proxies and settings. */
  inheritEnvironment?: boolean;
  /** With `inheritEnvironment`: what of it is left out. */
  dropEnvironment?: readonly string[];
  /** Called with each piece of its output, as it is written to the log. */
  onOutput?: (text: string) => void;
  /** Never as root: with another uid (user namespace, or file capabilities) over the same files. */
  unprivileged?: boolean;
};

export type Exit = {
  /** Exit code, 128 + n after signal n. */
  code: number;
  /** True if `stop()` asked for it. */
  asked: boolean;
};

/** A running process and its whole family. */
export type Started = {
  name: string;
  pid: number;
  alive(): boolean;
  /** Resolves, never rejects, when the process and all of its descendants are gone. */
  exited: Promise<Exit>;
  /** SIGTERM to the process group, SIGKILL after the grace; resolves when nothing is left. Safe to call twice. */
  stop(): Promise<void>;
  /** The last lines of its log. */
  logTail(): Promise<string>;
};

const guardFile = runtimeFile('guard.py');

/** Starts a command that ends when `stop()` is called or this process dies in whatever way; throws PROCESS_NOT_STARTED. */
export async function startProcess(spec: ProcessSpec): Promise<Started> {
  const log = await openLog(spec.logFile);
  try {
    const output = spec.onOutput ? 'pipe' : log.fd;
    const guard = spawn(spec.python, ['-I', '-S', guardFile], { stdio: ['ignore', output, output, 'pipe', 'pipe'], detached: true });
    if (spec.onOutput) for (const stream of [guard.stdout, guard.stderr]) stream?.setEncoding('utf8').on('data', tee(spec));
    return await underGuard(guard, spec, { inherit: spec.inheritEnvironment });
  } finally {
    await log.close();
  }
}

/** Runs a command on this terminal with the user's environment and `env` on top; it too ends when this process dies. */
export async function startForeground(spec: Omit<ProcessSpec, 'logFile'>): Promise<Started> {
  const guard = spawn(spec.python, ['-I', '-S', guardFile], { stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'] });
  return underGuard(guard, { ...spec, logFile: '' }, { foreground: true, inherit: true });
}

/** The last `lines` lines of a log file, for an error's message; empty if there is none. */
export async function tailOf(logFile: string, lines = 20): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

async function underGuard(guard: ChildProcess, spec: ProcessSpec, mode: { foreground?: boolean; inherit?: boolean }): Promise<Started> {
  const control = guard.stdio[3] as Writable;
  // The guard may die first: the write's EPIPE then says less than its exit does.
  control.on('error', () => {});
  const gone = new Promise<{ code: number | null; error?: Error }>((resolve) => {
    guard.once(spec.onOutput ? 'close' : 'exit', (code) => resolve({ code }));
    guard.once('error', (error) => resolve({ code: null, error }));
  });
  control.write(`${JSON.stringify(guardSpecification(spec, mode))}\n`);
  const pid = await Promise.race([reportedPid(guard), gone]);
  if (typeof pid !== 'number') throw notStarted(spec, pid.error ?? new Error(`guard ended with ${pid.code}: ${await tailOf(spec.logFile)}`));
  let asked = false;
  let running = true;
  const exited = gone.then(({ code }): Exit => {
    running = false;
    // Killed before it could clean up: PDEATHSIG took the command, this takes its group.
    if (code === null && mode.foreground !== true) killGroup(pid);
    return { code: code ?? 137, asked };
  });
  return {
    name: spec.name,
    pid,
    alive: () => running,
    exited,
    stop: async () => {
      asked = true;
      if (!control.writableEnded) control.end('stop\n');
      await exited;
    },
    logTail: () => tailOf(spec.logFile),
  };
}

function guardSpecification(spec: ProcessSpec, mode: { foreground?: boolean; inherit?: boolean }) {
  return {
    command: spec.command,
    args: spec.args,
    env: spec.env ?? {},
    cwd: spec.cwd ?? null,
    graceMs: spec.graceMs ?? 10_000,
    unprivileged: spec.unprivileged ?? false,
    foreground: mode.foreground ?? false,
    inherit: mode.inherit ?? false,
    drop: spec.dropEnvironment ?? [],
  };
}

async function reportedPid(guard: ChildProcess): Promise<number> {
  const status = guard.stdio[4] as NodeJS.ReadableStream;
  const [line] = (await once(status, 'data')) as [Buffer];
  return (JSON.parse(line.toString('utf8')) as { pid: number }).pid;
}

function tee({ logFile, onOutput }: ProcessSpec): (text: string) => void {
  return (text) => {
    // Synchronous: whoever awaits the exit finds the log complete.
    appendFileSync(logFile, text);
    onOutput?.(text);
  };
}

async function openLog(logFile: string) {
  await mkdir(dirname(logFile), { recursive: true, mode: 0o700 });
  await rename(logFile, `${logFile}.1`).catch(() => {});
  return open(logFile, 'w', 0o600);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of it: that is what was wanted.
  }
}

function notStarted(spec: ProcessSpec, cause: Error): Failure {
  return new Failure({
    code: 'PROCESS_NOT_STARTED',
    kind: 'unexpected',
    message: `${spec.name} could not be started with ${spec.python}: ${cause.message}`,
    hint: 'check that this Python runs: python3 --version',
    cause,
  });
}
