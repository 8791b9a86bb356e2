import type { Workspace } from './client.ts';
import type { Place } from './bundle.ts';
import { exportFile, importFile, type WorkspaceObject } from './rest.ts';

/**
 * What the last deployment wrote, kept beside it in the workspace. The workspace reformats notebooks, so their content cannot be
 * compared with the file: what is remembered is the file's hash, and the object's id and time, which change with every edit.
 */
export type DeployedState = Readonly<{
  version: 1;
  files: Readonly<Record<string, { sha256: string; object_id?: number; modified_at?: number }>>;
  jobs: Readonly<Record<string, number>>;
}>;

export const EMPTY_STATE: DeployedState = { version: 1, files: {}, jobs: {} };

/** Where the state is kept: beside the Databricks CLI's own. */
export function statePath(place: Place): string {
  return `${place.state}/streamgauge.json`;
}

/** The last deployment's state; empty where there is none, or where it cannot be understood (everything is then written anew). */
export async function readState(workspace: Workspace, place: Place): Promise<DeployedState> {
  const bytes = await exportFile(workspace, statePath(place));
  if (bytes === undefined) return EMPTY_STATE;
  try {
    const state = JSON.parse(bytes.toString('utf8')) as Partial<DeployedState> | null;
    const isRecord = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
    return state?.version === 1 && isRecord(state.files) && isRecord(state.jobs) ? (state as DeployedState) : EMPTY_STATE;
  } catch {
    return EMPTY_STATE;
  }
}

export async function writeState(workspace: Workspace, place: Place, state: DeployedState): Promise<void> {
  await importFile(workspace, statePath(place), Buffer.from(`${JSON.stringify(state, undefined, 1)}\n`));
}

/** True where the object is still the one that was written from a file with this hash. */
export function isUnchanged(state: DeployedState, object: string, sha256: string, found: WorkspaceObject): boolean {
  const known = state.files[object];
  return known !== undefined && known.sha256 === sha256 && known.object_id === found.object_id && known.modified_at === found.modified_at;
}
