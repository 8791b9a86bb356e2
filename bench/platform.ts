import { execFileSync } from 'node:child_process';
import type { Measured, Setting } from './setting.ts';

/** How the start compares with the slowest engine's own, and what the platform holds in memory while it has nothing to do. */
export async function run({ started, log }: Setting): Promise<Measured[]> {
  const [slowest, alone] = Object.entries(started.engines).toSorted((a, b) => b[1] - a[1])[0] ?? ['', Number.NaN];
  const memory = memoryByName();
  for (const [name, mib] of memory) log(`${name}: ${mib} MiB`);
  return [
    { what: `slowest engine, ${slowest}`, value: `${alone.toFixed(1)} s` },
    { what: 'platform start, warm cache', value: `${started.platform.toFixed(1)} s`, ratio: started.platform / alone },
    { what: 'resident memory of all its processes', value: `${memory.reduce((sum, [, mib]) => sum + mib, 0)} MiB` },
  ];
}

/** Resident memory of this process and its descendants, by program, in MiB. */
function memoryByName(): [string, number][] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,rss=,comm='], { encoding: 'utf8' }).trim().split('\n');
  const processes = lines.map((line) => line.trim().split(/\s+/)).map(([pid, parent, rss, name]) => ({ pid: Number(pid), parent: Number(parent), rss: Number(rss), name: name ?? '' }));
  const ours = new Set([process.pid]);
  // Children stand behind their parents as long as pids grow; a second pass catches the others.
  for (let pass = 0; pass < 5; pass += 1) for (const { pid, parent } of processes) if (ours.has(parent)) ours.add(pid);
  const byName = new Map<string, number>();
  for (const { pid, rss, name } of processes) if (ours.has(pid)) byName.set(name, (byName.get(name) ?? 0) + Math.round(rss / 1024));
  return [...byName].toSorted((a, b) => b[1] - a[1]);
}
