import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { differences } from '../databricks/differences.ts';
import { Failure } from '../errors.ts';
import type { World } from './observe.ts';
import type { Made, RemovalOptions } from './removal.ts';
import type { Step } from './step.ts';

/** A saved plan: the steps, and by hashes the world and the bundle that they were planned for. Holds no secret and no content. */
export type PlanFile = { version: 1; bundle: string; target: string; at: string; wanted: string; found: string; steps: Step[]; /** A plan to destroy, and what shall go besides. */ destroys?: RemovalOptions };

type Named = Pick<Config, 'bundle' | 'target'>;
type Meant = Pick<Config, 'pipeline' | 'jobs'>;

/** A plan to deploy as it is saved. */
export function planFile(config: Named, world: World, steps: Step[], at: Date = new Date()): PlanFile {
  return { version: 1, bundle: config.bundle, target: config.target, at: at.toISOString(), wanted: wantedHash(world), found: foundHash(world), steps };
}

/** A plan to destroy as it is saved. */
export function removalPlanFile(config: Named & Meant, made: Made, steps: Step[], destroys: RemovalOptions, at: Date = new Date()): PlanFile {
  return { version: 1, bundle: config.bundle, target: config.target, at: at.toISOString(), wanted: meantHash(config), found: madeHash(made), steps, destroys };
}

export async function writePlan(file: string, plan: PlanFile): Promise<void> {
  await writeFile(file, `${JSON.stringify(plan, undefined, 2)}\n`, { mode: 0o600 });
}

/** The saved plan to do what `verb` does; a usage Failure for a file that is none, or is another verb's or target's. */
export async function readPlan(file: string, config: Named, verb: 'deploy'): Promise<PlanFile>;
export async function readPlan(file: string, config: Named, verb: 'destroy'): Promise<PlanFile & { destroys: RemovalOptions }>;
export async function readPlan(file: string, config: Named, verb: 'deploy' | 'destroy'): Promise<PlanFile> {
  const option = verb === 'destroy' ? ' --destroy' : '';
  const refuse = (message: string, cause?: unknown): Failure => new Failure({ code: 'PLAN_UNREADABLE', kind: 'usage', message: `${file}: ${message}`, hint: `Make a plan: \`streamgauge plan${option} -t ${config.target} --out ${file}\`.`, cause });
  let plan: Partial<PlanFile>;
  try {
    plan = JSON.parse(await readFile(file, 'utf8')) as Partial<PlanFile>;
  } catch (error) {
    throw refuse('cannot be read as a plan', error);
  }
  if (plan?.version !== 1 || !Array.isArray(plan.steps) || typeof plan.found !== 'string' || typeof plan.wanted !== 'string') throw refuse('is not a plan of this version');
  if ((plan.destroys === undefined) !== (verb === 'deploy')) throw refuse(plan.destroys === undefined ? 'is a plan to deploy' : 'is a plan to destroy, which only `streamgauge destroy --plan` carries out');
  if (plan.bundle !== config.bundle || plan.target !== config.target) throw refuse(`is a plan for ${plan.bundle} / ${plan.target}, not for ${config.bundle} / ${config.target}`);
  return plan as PlanFile;
}

/** Failure PLAN_OUTDATED where bundle or world are no longer those that were planned for, or the steps would be others. */
export function checkPlan(plan: PlanFile, world: World, steps: readonly Step[], file: string): void {
  check(plan, { wanted: wantedHash(world), found: foundHash(world) }, steps, file);
}

/** The same for a plan to destroy. */
export function checkRemovalPlan(plan: PlanFile, config: Meant, made: Made, steps: readonly Step[], file: string): void {
  check(plan, { wanted: meantHash(config), found: madeHash(made) }, steps, file);
}

function check(plan: PlanFile, now: Pick<PlanFile, 'wanted' | 'found'>, steps: readonly Step[], file: string): void {
  const option = plan.destroys === undefined ? '' : ' --destroy';
  const outdated = (message: string): Failure => new Failure({ code: 'PLAN_OUTDATED', kind: 'checkFailed', message: `${message} since the plan of ${plan.at}: nothing was done`, hint: `Plan again: \`streamgauge plan${option} -t ${plan.target} --out ${file}\`.` });
  if (plan.wanted !== now.wanted) throw outdated('the bundle has changed');
  if (plan.found !== now.found) throw outdated('the world has moved');
  if (stable(lasting(plan.steps)) !== stable(lasting(steps))) throw outdated('the plan was edited, or would now be another,');
}

/** Runs come and go by the schedule: restarting those that are there belongs to every plan. */
function lasting(steps: readonly Step[]): Step[] {
  const going = (changes: Step['changes']): Step['changes'] => changes.filter(({ field }) => field !== 'runs that go on');
  return steps.filter(({ work }) => work.room !== 'runs').map((step) => ({ ...step, why: undefined, changes: going(step.changes) }));
}

function wantedHash({ wanted: { pipeline, workspace, template } }: World): string {
  const files = workspace.files.map(({ path, sha256 }) => [path, sha256]);
  return sha256(stable({ pipeline, files, jobs: workspace.jobs, place: workspace.place, template }));
}

function foundHash(world: World): string {
  const { activeRuns: _, cluster, rights, workspace, ...found } = world.found;
  return sha256(stable({ ...found, workspace: { ...workspace, ...lastingJobs(workspace.jobs) }, cluster: lastingCluster(cluster), rights: rights.map(stable).sort() }));
}

/** Jobs by what a bundle can say of them: how they were asked for, and among which others they stand, changes nothing. */
function lastingJobs(jobs: World['found']['workspace']['jobs']): object {
  return { jobs: Object.entries(jobs).map(([key, { job_id: id, settings }]) => [key, id, settings.tags, differences({}, settings)]), jobsApart: undefined };
}

/** What decides over an end besides the world: whose names these are, and what must stay. */
function meantHash({ pipeline, jobs }: Meant): string {
  return sha256(stable({ pipeline, jobs: jobs.map(({ key, settings }) => [key, settings.lifecycle]) }));
}

function madeHash(all: Made): string {
  const { activeRuns: _, cluster, rights, ...made } = all;
  return sha256(stable({ ...made, cluster: lastingCluster(cluster), rights: rights.map(stable).sort() }));
}

/** A cluster that is patched meanwhile serves all the same, and others may tag it; Kafka lists rights in any order. */
function lastingCluster(cluster: World['found']['cluster']): unknown {
  const { tags: _tags, version: _version, state, ...lasting } = cluster ?? { tags: {}, state: 'none' };
  return { ...lasting, state: ['CREATING', 'DELETING', 'FAILED', 'none'].includes(state) ? state : 'serving' };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** JSON with sorted keys: equal values give equal text. */
export function stable(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}
