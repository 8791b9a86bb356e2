import * as fc from 'fast-check';
import type { Pipeline } from '../../src/config/config.ts';
import { CODE_TAG, codeHash, codeTag, marked, runsByItself } from '../../src/databricks/code.ts';
import type { Wanted as WorkspaceWanted } from '../../src/databricks/deploy.ts';
import { describe as describeFile } from '../../src/databricks/files.ts';
import { MADE_KEY, fingerprintKey, fingerprintKeys } from '../../src/databricks/scope.ts';
import { EMPTY_STATE } from '../../src/databricks/state.ts';
import type { Observed, Wanted } from '../../src/deployment/plan.ts';
import type { Step } from '../../src/deployment/step.ts';
import { indexTemplate } from '../../src/elasticsearch/template.ts';
import { Secret } from '../../src/errors.ts';

const root = '/Workspace/Users/a/.bundle/s/dev';
export const place = { root, files: `${root}/files`, state: `${root}/state` };
const secrets = { bootstrap_servers: new Secret('b:9096'), username: new Secret('u'), password: new Secret('p') };

type Given = { partitions?: number; min_insync_replicas?: number; retention_hours?: number; kafka_auth?: 'scram' | 'iam'; topics?: string[]; notebooks?: Record<string, string>; window_minutes?: number; max_concurrent_runs?: number; tags?: Record<string, string>; index?: string };

/** What a configuration wants; everything that a test does not name is ordinary. */
export function wantedOf(given: Given = {}): Wanted {
  const pipeline = { cluster_name: 'c', kafka_auth: 'scram', topics: ['t'], partitions: 2, window_minutes: 10, replication_factor: 1, min_insync_replicas: 1, retention_hours: 24, broker_count: 1, broker_instance_type: 'm', kafka_version: '4', subnets: ['s'], index: 'i', ...given } as unknown as Pipeline;
  const files = Object.entries(given.notebooks ?? { ingest: '1' }).map(([name, code]) => describeFile(`notebooks/${name}.py`, Buffer.from(`# Databricks notebook source\n${code}\n`)));
  const parameters = [{ name: 'window_minutes', default: String(given.window_minutes ?? 10) }];
  const settings = { name: 'traffic', schedule: { quartz_cron_expression: '0 0 * * * ?' }, parameters, tags: { ...given.tags, [CODE_TAG]: '' }, ...(given.max_concurrent_runs && { max_concurrent_runs: given.max_concurrent_runs }) };
  const workspace = withJobs({ who: { userName: 'a' }, place, files, jobs: [], scope: { name: 'k', secrets } }, [{ key: 'traffic', settings }]);
  return { pipeline, workspace, template: indexTemplate(pipeline.index) as Record<string, unknown> };
}

/** The same deployment with these jobs, each that has a mark with the one of its files. */
export function withJobs(wanted: WorkspaceWanted, jobs: WorkspaceWanted['jobs']): WorkspaceWanted {
  return { ...wanted, jobs: marked({ ...wanted, jobs }) };
}

/** A world with nothing in it. */
export const NOTHING: Observed = {
  cluster: undefined, configuration: { attached: undefined, own: undefined }, logins: { key: undefined, secrets: { admin: undefined, pipeline: undefined } }, topics: [], rights: [], activeRuns: [], tables: [], shapes: {}, template: undefined,
  workspace: { state: EMPTY_STATE, tree: [], alike: {}, jobs: {}, staleJobs: [], jobsApart: false, secrets: undefined },
};

let clock = 1;

/** What becomes of a world when a plan is carried out: each step does what it says, and nothing else. */
export function applied(wanted: Wanted, before: Observed, steps: readonly Step[]): Observed {
  const now = structuredClone({ ...before }) as any;
  for (const { work } of steps) {
    clock += 1;
    const step = work.step as any;
    if (work.room === 'configuration') now.configuration = step.do === 'write configuration' ? { attached: undefined, own: { arn: 'c', revision: 1, properties: step.properties } } : { ...now.configuration, attached: { ...now.configuration.attached, ...Object.fromEntries(step.changes.map((change: any) => [change.name, change.to])) } };
    if (work.room === 'cluster') now.configuration = { attached: now.configuration.own.properties, own: undefined };
    if (work.room === 'cluster') now.cluster = { arn: 'a', name: step.name, state: 'ACTIVE', ours: true, tags: {}, logins: { scram: true, iam: true }, brokers: step.brokers };
    if (work.room === 'index') now.template = wanted.template;
    if (work.room === 'runs') now.activeRuns = now.activeRuns.filter((run: any) => run.runId !== step.runId);
    if (work.room === 'rights') now.rights.push(...step.rights);
    if (work.room === 'logins') login(now, step);
    if (work.room === 'topics') topic(now, step);
    if (work.room === 'tables' && step.do === 'add columns') for (const { name, type } of step.columns) now.shapes[step.table].columns[name] = type;
    if (work.room === 'tables' && step.do === 'set not null') now.shapes[step.table].notNull.push(...step.columns.map(({ name }: any) => name));
    if (work.room === 'workspace') inWorkspace(now.workspace, wanted.workspace, step);
  }
  const entries = wanted.workspace.files.map((file) => {
    const there = now.workspace.tree.find((object: any) => object.path === `${place.files}/${file.object}`);
    return [file.object, { sha256: file.sha256, object_id: there?.object_id, modified_at: there?.modified_at }];
  });
  const tags = wanted.workspace.jobs.map(({ key, settings }) => [key, codeTag(settings)] as const);
  for (const [key, tag] of tags) if (now.workspace.jobs[key] !== undefined && tag !== undefined) now.workspace.jobs[key].settings.tags = { ...now.workspace.jobs[key].settings.tags, [CODE_TAG]: tag };
  for (const { work } of steps) if (work.room === 'workspace' && work.step.do === 'tag job' && work.step.wanted === undefined) delete now.workspace.jobs[work.step.key].settings.tags[CODE_TAG];
  const code = Object.fromEntries(wanted.workspace.jobs.flatMap(({ key, settings }) => (runsByItself(settings) ? [[key, { hash: codeHash(wanted.workspace, key), tag: codeTag(settings), staleRuns: [] }]] : [])));
  now.workspace.state = { version: 1, files: Object.fromEntries(entries), jobs: Object.fromEntries(Object.entries(now.workspace.jobs).map(([key, job]: any) => [key, job.job_id])), code };
  return now;
}

function login(now: any, step: any): void {
  if (step.do === 'create key') now.logins.key = { id: 'k', arn: 'k', ours: true };
  else if (step.do === 'associate secrets') for (const secret of Object.values(now.logins.secrets) as any[]) secret.associated = true;
  else now.logins.secrets[step.role] = { name: step.name, arn: step.name, ours: true, scheduledForDeletion: false, associated: false };
}

function topic(now: any, step: any): void {
  const found = now.topics.find((one: any) => one.name === step.name);
  if (step.do === 'create topic') now.topics.push({ name: step.name, partitions: step.partitions, replicationFactor: step.replicationFactor, configs: { ...step.configs } });
  else if (step.do === 'grow topic') found.partitions = step.to;
  else for (const change of step.changes) found.configs[change.name] = change.to;
}

function inWorkspace(found: any, wanted: WorkspaceWanted, step: any): void {
  const settings = () => structuredClone(wanted.jobs.find((job) => job.key === step.key)?.settings);
  switch (step.do) {
    case 'make folder': return void found.tree.push({ path: step.path, object_type: 'DIRECTORY' });
    case 'upload': found.tree = [...found.tree.filter((object: any) => object.path !== step.path), { path: step.path, object_type: step.type, object_id: clock, modified_at: clock }]; return;
    case 'delete': found.tree = found.tree.filter((object: any) => object.path !== step.path); return;
    case 'create secret scope': found.secrets = [{ key: MADE_KEY, last_updated_timestamp: clock }]; return;
    case 'put secrets': {
      const stale = [...fingerprintKeys(found.secrets), ...step.keys];
      const written = [...step.keys, fingerprintKey(wanted.scope.secrets)].map((key: string) => ({ key, last_updated_timestamp: clock }));
      found.secrets = [...found.secrets.filter((secret: any) => !stale.includes(secret.key)), ...written];
      return;
    }
    // The server fills in what nobody set: that must never read as a difference.
    case 'create job': found.jobs[step.key] = { job_id: clock, settings: { ...settings(), format: 'MULTI_TASK', run_as: { user_name: 'a' }, timeout_seconds: 0, email_notifications: {} } }; return;
    case 'update job': found.jobs[step.key].settings = { ...settings(), format: 'MULTI_TASK', timeout_seconds: 0 }; return;
    case 'delete job': found.staleJobs = found.staleJobs.filter((job: any) => job.job_id !== step.job_id);
  }
}

/** Configurations of the kind that follow one another; partitions stay, because they cannot shrink. */
export const configurations = fc.record({
  retention_hours: fc.integer({ min: 1, max: 5 }),
  min_insync_replicas: fc.integer({ min: 1, max: 2 }),
  kafka_auth: fc.constantFrom<'scram' | 'iam'>('scram', 'iam'),
  topics: fc.uniqueArray(fc.constantFrom('t', 'u', 'v'), { minLength: 1 }),
  notebooks: fc.dictionary(fc.constantFrom('ingest', 'windows', 'other'), fc.constantFrom('1', '2'), { minKeys: 1 }),
  window_minutes: fc.constantFrom(5, 10, 60),
  max_concurrent_runs: fc.integer({ min: 1, max: 3 }),
  tags: fc.dictionary(fc.constantFrom('team', 'cost'), fc.constantFrom('a', 'b')),
});
