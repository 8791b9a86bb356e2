import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
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

/** Local addresses on which these processes listen, from /proc. */
export function listeningAddresses(pids: number[]): string[] {
  const sockets = new Set(pids.flatMap((pid) => descriptorsOf(pid)));
  return ['tcp', 'tcp6'].flatMap((name) => {
    const rows = readFileSync(`/proc/net/${name}`, 'utf8').trim().split('\n').slice(1).map((row) => row.trim().split(/\s+/));
    // 0A is LISTEN; the address is in hexadecimal, each group of four bytes in the machine's order.
    return rows.filter((row) => row[3] === '0A' && sockets.has(`socket:[${row[9]}]`)).map((row) => addressOf(row[1]?.split(':')[0] ?? ''));
  });
}

function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`));
  } catch {
    // Gone, or a descriptor closed meanwhile: a server's own stays.
    return [];
  }
}

function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((group) => (group.match(/../g) ?? []).toReversed().map((byte) => Number.parseInt(byte, 16)));
  if (bytes.length === 4) return bytes.join('.');
  const mapped = bytes.slice(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 0xff));
  if (mapped) return `::ffff:${bytes.slice(12).join('.')}`;
  return bytes.every((byte, at) => byte === (at === 15 ? 1 : 0)) ? '::1' : hex;
}

function table(): { pid: number; ppid: number; state: string; command: string }[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state=,comm='], { encoding: 'utf8' });
  return text.trim().split('\n').map((line) => {
    const [pid, ppid, state = '', command = ''] = line.trim().split(/\s+/);
    return { pid: Number(pid), ppid: Number(ppid), state, command };
  });
}
