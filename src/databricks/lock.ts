import { randomUUID } from 'node:crypto';
import { Failure } from '../errors.ts';
import type { Place } from './bundle.ts';
import type { Workspace } from './client.ts';
import { confirmWho } from './identity.ts';
import { createFile, deleteObject, exportFile, mkdirs, writeFile, type Me } from './rest.ts';

/** The lock's content, as the Databricks CLI writes it: each waits for the other. */
type Lock = { ID: string; AcquisitionTime: string; IsForced: boolean; User: string };

/** A lock that is held; `release` gives it back, unless somebody broke it meanwhile. */
export type HeldLock = { release(workspace: Workspace): Promise<void> };

/** Takes the deployment's lock in the workspace; Failure DEPLOY_LOCKED, with owner and age, where another has it and `force` is not given. */
export async function takeDeployLock(workspace: Workspace, place: Place, who: Me, force: boolean, nowMs: number = Date.now()): Promise<HeldLock> {
  const path = `${place.state}/deploy.lock`;
  const mine: Lock = { ID: randomUUID(), AcquisitionTime: new Date(nowMs).toISOString(), IsForced: force, User: who.userName };
  const content = Buffer.from(JSON.stringify(mine));
  let created = await createFile(workspace, path, content);
  if (created === 'no folder') {
    await confirmWho(workspace, place.root);
    await mkdirs(workspace, place.state);
    created = await createFile(workspace, path, content);
  }
  // A lost answer is not asked for again: the lock that stands there may be this one.
  const holder = created === true ? mine : await readLock(workspace, path);
  if (holder?.ID !== mine.ID && !force) throw locked(holder, place, nowMs);
  if (created !== true) await writeFile(workspace, path, content);
  return { release: (by) => release(by, path, mine) };
}

/** Does `work` under the deployment's lock, which goes when that ends, however it ends; `warn` hears where it could not be given back. */
export async function underDeployLock<T>(workspace: Workspace, place: Place, who: Me, { force, warn }: { force: boolean; warn(text: string): void }, work: () => Promise<T>): Promise<T> {
  const lock = await takeDeployLock(workspace, place, who, force);
  try {
    return await work();
  } finally {
    // Ctrl-C has ended every call of this workspace; giving the lock back needs one of its own.
    await lock.release(workspace.withSignal(undefined)).catch((error: unknown) => warn(`the deploy lock could not be given back (${String(error)}): the next deployment or rebuild needs --force-lock`));
  }
}

async function release(workspace: Workspace, path: string, mine: Lock): Promise<void> {
  // Only after long work can somebody have broken it; a short one saves the question.
  const isOld = Date.now() - Date.parse(mine.AcquisitionTime) > 60_000;
  if (isOld && (await readLock(workspace, path))?.ID !== mine.ID) return;
  await deleteObject(workspace, path);
}

async function readLock(workspace: Workspace, path: string): Promise<Lock | undefined> {
  const bytes = await exportFile(workspace, path);
  try {
    return bytes && (JSON.parse(bytes.toString('utf8')) as Lock);
  } catch {
    return { ID: '', AcquisitionTime: '', IsForced: false, User: 'somebody' };
  }
}

function locked(holder: Lock | undefined, place: Place, nowMs: number): Failure {
  const since = Date.parse(holder?.AcquisitionTime ?? '');
  const age = Number.isNaN(since) ? 'an unknown time' : duration(nowMs - since);
  return new Failure({
    code: 'DEPLOY_LOCKED',
    kind: 'remote',
    message: `${holder?.User ?? 'somebody'} is deploying to ${place.root}: the lock is held since ${holder?.AcquisitionTime || 'an unknown moment'}, for ${age}`,
    hint: 'Wait until that deployment has ended. Only if it crashed, break its lock: `streamgauge deploy --force-lock`.',
  });
}

function duration(ms: number): string {
  const minutes = Math.floor(Math.max(0, ms) / 60_000);
  if (minutes < 1) return `${Math.max(0, Math.round(ms / 1000))} s`;
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
