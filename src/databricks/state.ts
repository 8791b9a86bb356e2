import { gunzipSync, gzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import type { Place } from './bundle.ts';
import type { Workspace } from './client.ts';
import { confirmWho } from './identity.ts';
import { exportFile, writeFile, type JobSettings, type WorkspaceObject } from './rest.ts';

/** One deployment that changed something: enough to bring back what it deployed. */
export type Deployment = Readonly<{ number: number; at: string; by: string; what: readonly string[]; files: Readonly<Record<string, string>>; jobs: Readonly<Record<string, JobSettings & { name: string }>>; rollbackTo?: number }>;

/**
 * What the last deployment wrote, kept beside it in the workspace. The workspace reformats notebooks, so their content cannot be
 * compared with the file: what is remembered is the file's hash, and the object's id and time, which change with every edit.
 */
export type DeployedState = Readonly<{
  version: 1;
  files: Readonly<Record<string, { sha256: string; object_id?: number; modified_at?: number }>>;
  jobs: Readonly<Record<string, number>>;
  /** The bundle's jobs are no longer among the workspace's newest: they are asked for one by one. */
  jobsApart?: boolean;
  /** By job: the hash of what its runs execute, its mark, and the runs that were going on when it came: these execute something else. */
  code?: Readonly<Record<string, { hash: string; tag?: string | undefined; staleRuns: readonly number[] }>>;
  history?: readonly Deployment[];
  /** Contents that the history names, by SHA-256: gzip in base64, or null where they stand in a file of their own. */
  contents?: Readonly<Record<string, string | null>>;
}>;

export const EMPTY_STATE: DeployedState = { version: 1, files: {}, jobs: {} };

/** How many deployments can be brought back. */
const KEPT = 20;
/** What is larger goes to a file of its own: the state is read by every deployment. */
const INLINE_BYTES = 256 * 1024;

/** Where the state is kept: beside the Databricks CLI's own. */
export function statePath(place: Place): string {
  return `${place.state}/streamgauge.json`;
}

/** The last deployment's state; empty where there is none, or where it cannot be understood (everything is then written anew). */
export async function readState(workspace: Workspace, place: Place): Promise<DeployedState> {
  const bytes = await exportFile(workspace, statePath(place));
  if (bytes === undefined) {
    await confirmWho(workspace, place.root);
    return EMPTY_STATE;
  }
  try {
    const state = JSON.parse(bytes.toString('utf8')) as Partial<DeployedState> | null;
    const isRecord = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
    return state?.version === 1 && isRecord(state.files) && isRecord(state.jobs) ? (state as DeployedState) : EMPTY_STATE;
  } catch {
    return EMPTY_STATE;
  }
}

export async function writeState(workspace: Workspace, place: Place, state: DeployedState): Promise<void> {
  await writeFile(workspace, statePath(place), Buffer.from(`${JSON.stringify(state, undefined, 1)}\n`));
}

/** True where the object is still the one that was written from a file with this hash. */
export function isUnchanged(state: DeployedState, object: string, sha256: string, found: WorkspaceObject): boolean {
  const known = state.files[object];
  return known !== undefined && known.sha256 === sha256 && known.object_id === found.object_id && known.modified_at === found.modified_at;
}

/** The history with one deployment more, and the contents that it and its predecessors need; large contents are written at once. */
export async function remembered(workspace: Workspace, place: Place, state: DeployedState, next: Omit<Deployment, 'number'>, contents: readonly Buffer[]): Promise<Pick<DeployedState, 'history' | 'contents'>> {
  const before = state.history ?? [];
  const history = [...before, { number: (before.at(-1)?.number ?? 0) + 1, ...next }].slice(-KEPT);
  const needed = new Set(history.flatMap((deployment) => Object.values(deployment.files)));
  const kept: Record<string, string | null> = Object.fromEntries(Object.entries(state.contents ?? {}).filter(([sha256]) => needed.has(sha256)));
  for (const content of contents) {
    const sha256 = createHash('sha256').update(content).digest('hex');
    if (sha256 in kept || !needed.has(sha256)) continue;
    const packed = gzipSync(content);
    kept[sha256] = packed.length > INLINE_BYTES ? null : packed.toString('base64');
    if (kept[sha256] === null) await writeFile(workspace, `${place.state}/streamgauge-${sha256}.gz`, packed);
  }
  return { history, contents: kept };
}

/** The content with this SHA-256, or undefined where it is kept no longer. */
export async function contentFor(workspace: Workspace, place: Place, state: DeployedState, sha256: string): Promise<Buffer | undefined> {
  const inline = state.contents?.[sha256];
  if (inline === undefined) return undefined;
  const packed = inline === null ? await exportFile(workspace, `${place.state}/streamgauge-${sha256}.gz`) : Buffer.from(inline, 'base64');
  const content = packed && gunzipSync(packed);
  return content !== undefined && createHash('sha256').update(content).digest('hex') === sha256 ? content : undefined;
}
