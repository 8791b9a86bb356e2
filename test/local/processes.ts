import { execFileSync, spawnSync } from 'node:child_process';
import { poll } from '../../src/poll.ts';

/** Pids of everything that descends from this process; without the `ps` that finds them. */
export function descendantsOf(pid: number): number[] {
  const rows = table().filter((row) => row.command !== 'ps');
  const found: number[] = [];
  for (let parents = [pid]; parents.length > 0; ) {
    parents = rows.filter((row) => parents.includes(row.ppid)).map((row) => row.pid);
    found.push(...parents);
  }
  return found;
}

/** Program and arguments of a process; empty when it is gone. */
export function commandLineOf(pid: number): string {
  return spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
}

/** Resolves when none of these processes is left; the error names them. */
export async function allGone(pids: number[], deadlineMs = 10_000): Promise<void> {
  await poll({ what: `processes ${pids.join(', ')} to be gone`, deadlineMs, intervalMs: 50, maxIntervalMs: 200 }, async () => {
    const alive = new Set(table().filter(({ state }) => !state.startsWith('Z')).map(({ pid }) => pid));
    return pids.some((pid) => alive.has(pid)) ? undefined : true;
  });
}

function table(): { pid: number; ppid: number; state: string; command: string }[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state=,comm='], { encoding: 'utf8' });
  return text.trim().split('\n').map((line) => {
    const [pid, ppid, state = '', command = ''] = line.trim().split(/\s+/);
    return { pid: Number(pid), ppid: Number(ppid), state, command };
  });
}
