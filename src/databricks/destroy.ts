import type { Config } from '../config/config.ts';
import { placeOf, wantedJobs, type Place } from './bundle.ts';
import type { Workspace } from './client.ts';
import { findJob } from './deploy.ts';
import { deleteJob, deleteObject, deleteScope, deleteSecret, getJob, getStatus, listSecrets, me } from './rest.ts';
import { MADE_KEY, fingerprintKeys } from './scope.ts';
import { readState } from './state.ts';

/** Keys that deploy writes into the secret scope. */
const SECRET_KEYS = ['bootstrap_servers', 'username', 'password', 'elasticsearch_url', 'elasticsearch_api_key', 'elasticsearch_username', 'elasticsearch_password'];

/** What deploy made and what is still there, as plain JSON: each entry is one thing that `removeDeployed` deletes. */
export type Deployed =
  | { what: 'job'; id: number; name: string }
  | { what: 'folder'; path: string }
  | { what: 'secret scope'; name: string }
  | { what: 'secrets'; scope: string; keys: string[] };

/** Finds what deploy made of this configuration: its jobs, its folder, and the scope (or, in a scope that it did not create, only its own keys). */
export async function findDeployed(workspace: Workspace, config: Config): Promise<Deployed[]> {
  const who = await me(workspace);
  const place = placeOf(config, who);
  const [jobs, root, secrets] = await Promise.all([deployedJobs(workspace, config, place, who), getStatus(workspace, place.root), deployedSecrets(workspace, config)]);
  return [...jobs, ...(root === undefined ? [] : [{ what: 'folder', path: place.root } as const]), ...secrets];
}

async function deployedJobs(workspace: Workspace, config: Config, place: Place, who: Awaited<ReturnType<typeof me>>): Promise<Deployed[]> {
  const state = await readState(workspace, place);
  const wanted = wantedJobs(config, who, place);
  const found = await Promise.all(wanted.map((job) => findJob(workspace, place, job, state.jobs[job.key], 'ignore')));
  const former = await Promise.all(Object.entries(state.jobs).map(([key, id]) => (wanted.some((job) => job.key === key) ? undefined : getJob(workspace, id))));
  return [...found, ...former].flatMap((job) => (job === undefined ? [] : [{ what: 'job', id: job.job_id, name: job.settings.name ?? '' } as const]));
}

async function deployedSecrets(workspace: Workspace, config: Config): Promise<Deployed[]> {
  const scope = config.pipeline.secret_scope;
  const found = await listSecrets(workspace, scope);
  if (found === undefined) return [];
  const keys = found.map((secret) => secret.key);
  if (keys.includes(MADE_KEY)) return [{ what: 'secret scope', name: scope }];
  const fingerprints = fingerprintKeys(found);
  // Without a fingerprint the values are somebody else's, whatever their names.
  if (fingerprints.length === 0) return [];
  return [{ what: 'secrets', scope, keys: [...SECRET_KEYS.filter((key) => keys.includes(key)), ...fingerprints] }];
}

/** Deletes what `findDeployed` listed; what is gone already is no error. Jobs go first, so that no schedule starts one without its notebooks. */
export async function removeDeployed(workspace: Workspace, found: readonly Deployed[], said: (thing: Deployed) => void = () => undefined): Promise<void> {
  for (const thing of found) {
    said(thing);
    if (thing.what === 'job') await deleteJob(workspace, thing.id);
    else if (thing.what === 'folder') await deleteObject(workspace, thing.path, true);
    else if (thing.what === 'secret scope') await deleteScope(workspace, thing.name);
    else for (const key of thing.keys) await deleteSecret(workspace, thing.scope, key);
  }
}
