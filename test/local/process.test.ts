import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { startProcess, type ProcessSpec, type Started } from '../../src/local/servers/process.ts';
import { startServer } from '../../src/local/servers/server.ts';
import { supervise } from '../../src/local/servers/supervise.ts';
import { poll } from '../../src/poll.ts';
import { allGone, descendantsOf } from './processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-process-'));
const family = join(import.meta.dirname, 'fixtures', 'family.sh');
const linux = process.platform === 'linux';
let logs = 0;

vi.setConfig({ testTimeout: 60_000 });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function spec(args: string[], more: Partial<ProcessSpec> = {}): ProcessSpec {
  logs += 1;
  return { name: 'fixture', python: 'python3', command: 'bash', args, logFile: join(folder, `${logs}.log`), ...more };
}

/** The family's pids, once it stands: its head, the one in its group, the one that left it. */
async function familyIn(logFile: string): Promise<number[]> {
  return poll({ what: 'the family to stand', deadlineMs: 20_000, intervalMs: 20 }, async () => {
    const line = /^family (\d+) (\d+) (\d+)/m.exec(existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
    return line?.slice(1).map(Number);
  });
}

function logOf(): string {
  return join(folder, `${logs}.log`);
}

async function printed(logFile: string, text: string): Promise<void> {
  await poll({ what: text, deadlineMs: 10_000, intervalMs: 20 }, async () => (readFileSync(logFile, 'utf8').includes(text) ? true : undefined));
}

describe('a process under guard', () => {
  it('gets SIGTERM on stop, and its whole family goes with it', async () => {
    const started = await startProcess(spec([family], { env: { GREETING: 'hello' } }));
    const pids = await familyIn(logOf());
    expect(pids[0]).toBe(started.pid);
    expect(await started.logTail()).toContain('hello');
    expect(started.alive()).toBe(true);
    await started.stop();
    expect(await started.exited).toEqual({ code: 3, asked: true });
    expect(await started.logTail()).toContain('ended by TERM');
    expect(started.alive()).toBe(false);
    await allGone(pids);
  });

  it('is killed when the grace is over', async () => {
    const started = await startProcess(spec([family, 'stubborn'], { graceMs: 200 }));
    const pids = await familyIn(logOf());
    await started.stop();
    expect((await started.exited).code).toBe(137);
    await allGone(pids);
  });

  it('does not outlive a parent that is killed with SIGKILL', async () => {
    const logFile = join(folder, 'orphan.log');
    const parent = spawn(process.execPath, [join(import.meta.dirname, 'fixtures', 'parent.ts'), logFile, family], { stdio: 'ignore' });
    const pids = await familyIn(logFile);
    const between = descendantsOf(parent.pid as number).filter((pid) => !pids.includes(pid) && descendantsOf(pid).includes(pids[0] as number));
    expect(between).toHaveLength(1);
    parent.kill('SIGKILL');
    pids.push(...between);
    await allGone(pids);
  });

  it('gets no long grace from a parent that is dead', async () => {
    const logFile = join(folder, 'patient.log');
    const parent = spawn(process.execPath, [join(import.meta.dirname, 'fixtures', 'parent.ts'), logFile, family, 'stubborn', '3600000'], { stdio: 'ignore' });
    const pids = await familyIn(logFile);
    expect(pids).toHaveLength(3);
    parent.kill('SIGKILL');
    await allGone(pids, 20_000);
  });

  it.runIf(linux)('does not outlive its guard', async () => {
    const started = await startProcess(spec(['-c', 'sleep 300 & echo "family $$ $! $!"; while true; do sleep 0.05; done']));
    const pids = await familyIn(logOf());
    const guard = descendantsOf(process.pid).find((pid) => descendantsOf(pid).includes(started.pid)) as number;
    process.kill(guard, 'SIGKILL');
    expect((await started.exited).code).toBe(137);
    await allGone(pids);
  });

  it('reports exit codes and signals of its own', async () => {
    expect(await (await startProcess(spec(['-c', 'exit 7']))).exited).toEqual({ code: 7, asked: false });
    expect(await (await startProcess(spec(['-c', 'kill -SEGV $$']))).exited).toEqual({ code: 139, asked: false });
    const missing = await startProcess(spec([], { command: '/no/such/program' }));
    expect((await missing.exited).code).toBe(127);
    expect(await missing.logTail()).toContain('/no/such/program');
  });

  it('sees a known environment, and its secrets stand in no command line', async () => {
    const started = await startProcess(spec(['-c', 'env; sleep 300'], { env: { PASSWORD: 'swordfish' } }));
    await printed(logOf(), 'PASSWORD=swordfish');
    expect(await started.logTail()).not.toContain('VITEST');
    const guard = spawn('ps', ['-A', '-ww', '-o', 'args=']);
    let lines = '';
    guard.stdout.on('data', (data: Buffer) => (lines += data.toString()));
    await once(guard, 'close');
    expect(lines).toContain('guard.py');
    expect(lines).not.toContain('swordfish');
    await started.stop();
  });

  it('writes a log that only its owner reads, and keeps the one before', async () => {
    const logFile = join(folder, 'kept.log');
    for (const word of ['first', 'second']) await (await startProcess(spec(['-c', `echo ${word}`], { logFile }))).exited;
    expect(readFileSync(logFile, 'utf8')).toBe('second\n');
    expect(readFileSync(`${logFile}.1`, 'utf8')).toBe('first\n');
    expect(statSync(logFile).mode & 0o777).toBe(0o600);
  });

  it.runIf(linux && process.getuid?.() === 0)('runs as another user over the same files where it must not be root', async () => {
    const logFile = join(folder, 'unprivileged.log');
    const started = await startProcess(spec(['-c', `id -u; cat ${logFile} | wc -l; touch ${folder}/made && echo made`], { logFile, unprivileged: true }));
    expect((await started.exited).code).toBe(0);
    expect(await started.logTail()).toBe('1000\n1\nmade');
  });
});

describe('a server', () => {
  const never = () => new Promise<never>(() => {});

  it('that ends before it is ready is reported with the tail of its log', async () => {
    const server = startServer({ ...spec(['-c', 'seq 1 50; echo cannot bind; exit 4']), ready: never, deadlineMs: 10_000 });
    const failure = await server.then(() => undefined, (error: unknown) => error);
    expect(failure).toMatchObject({ code: 'ENGINE_DIED', kind: 'remote' });
    expect((failure as Error).message).toMatch(/^fixture ended with exit code 4; its log ends:\n32\n[^]*50\ncannot bind$/);
  });

  it('whose probe fails because it died is reported as dead, not by what the probe said', async () => {
    const script = 'echo "family $$ $$ $$"; sleep 0.2; exit 5';
    const ready = async () => {
      await allGone(await familyIn(logOf()));
      throw new Error('connection refused');
    };
    await expect(startServer({ ...spec(['-c', script]), deadlineMs: 20_000, ready })).rejects.toMatchObject({ code: 'ENGINE_DIED' });
  });

  it('whose probe fails while it lives is stopped, with what the probe said', async () => {
    let pids: number[] = [];
    const ready = async () => {
      pids = await familyIn(logOf());
      throw new Error('wrong token');
    };
    await expect(startServer({ ...spec([family]), deadlineMs: 20_000, ready })).rejects.toThrow('wrong token');
    await allGone(pids);
  });

  it('that is not ready in time is stopped and reported', async () => {
    const server = startServer({ ...spec([family], { env: { GREETING: 'still at it' } }), ready: never, deadlineMs: 1_500 });
    const pids = await familyIn(logOf());
    await expect(server).rejects.toMatchObject({ code: 'ENGINE_NOT_READY', kind: 'deadline', message: expect.stringContaining('still at it') });
    await allGone(pids);
  });

  it('that is given up leaves nothing', async () => {
    const giveUp = new AbortController();
    const server = startServer({ ...spec([family]), ready: never, deadlineMs: 60_000, signal: giveUp.signal });
    const pids = await familyIn(logOf());
    giveUp.abort(new Error('enough'));
    await expect(server).rejects.toThrow('enough');
    await allGone(pids);
  });

  it('that dies later is started again, and its death is logged with the tail', async () => {
    const lines: string[] = [];
    const logFile = join(folder, 'phoenix.log');
    let current: Started | undefined;
    const server = await supervise({
      name: 'phoenix',
      logFile,
      log: (line) => lines.push(line),
      start: async () => (current = await startServer({ ...spec(['-c', 'echo burning; sleep 300'], { logFile, name: 'phoenix' }), ready: () => printed(logFile, 'burning'), deadlineMs: 10_000 })),
    });
    const first = server.pid();
    process.kill(first, 'SIGKILL');
    await poll({ what: 'the next phoenix', deadlineMs: 10_000, intervalMs: 50 }, async () => (server.alive() && server.pid() !== first ? true : undefined));
    expect(lines[0]).toBe('phoenix ended with exit code 137; its log ends:\nburning');
    expect(lines.at(-1)).toContain('phoenix is back');
    await server.stop();
    expect(current?.alive()).toBe(false);
    expect(lines.filter((line) => line.includes('ended'))).toHaveLength(1);
  });
});
