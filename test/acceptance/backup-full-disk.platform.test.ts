import { execFileSync } from 'node:child_process';
import { chmodSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProject, type Project } from './project.ts';

/**
 * A target that takes a little and then nothing more, and a way to make room. A real small filesystem where this user may mount
 * one; elsewhere a place that cannot be written to, which Spark meets at the same point.
 */
function smallTarget(folder: string): { what: RegExp; makeRoom(): void; takeAway(): void } {
  mkdirSync(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], { stdio: 'pipe' });
    return { what: /No space left on device/, makeRoom: () => void execFileSync('mount', ['-o', 'remount,size=64m', folder]), takeAway: () => void execFileSync('umount', [folder]) };
  } catch {
    const blocked = join(folder, 'copy');
    writeFileSync(blocked, '');
    chmodSync(folder, 0o500);
    return { what: /copy/, makeRoom: () => { chmodSync(folder, 0o700); rmSync(blocked); }, takeAway: () => undefined };
  }
}

// A backup that cannot be written says why, loses nothing, and is completed by the next run.
describe('a full disk at the target of the backup', () => {
  let project: Project;
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-full-'));
  const disk = smallTarget(join(folder, 'disk'));

  beforeAll(async () => {
    project = createProject('fulldisk', { partitions: 1, shard_size: 100, backup_uri: `file:${folder}/disk/copy` });
    await project.json(['provision']);
    await project.json(['produce', '--records', '20000', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T06:00:00Z']);
    await project.json(['deploy']);
    await project.json(['run', '--param', 'backup_uri=']);
  }, 600_000);

  afterAll(() => {
    disk.takeAway();
    rmSync(folder, { recursive: true, force: true });
  });

  it('ends in a clear error; what was published stays published', async () => {
    const finished = await project.cli(['backup']);
    expect([finished.code, finished.stderr]).toEqual([4, expect.stringMatching(/error: .*the backup to file:.* stopped: /)]);
    expect(finished.stderr).toMatch(disk.what);
    expect(finished.stderr).toMatch(/the next run goes on from there/);
    const { rows } = await project.json(['query', 'SELECT count(*) FROM raw']);
    expect(rows).toEqual([[20_000]]);
  });

  it('the next run completes it, once there is room', async () => {
    disk.makeRoom();
    const { backup } = await project.json(['backup']);
    expect(backup.written + backup.adopted).toBe(200);
    expect(globSync('disk/copy/shards/**/*.gz', { cwd: folder }).length).toBe(200);
    expect((await project.json(['backup', 'verify'])).verified).toMatchObject({ problem_count: 0, objects: 200, records: 20_000, not_backed_up: 0 });
  });
});
