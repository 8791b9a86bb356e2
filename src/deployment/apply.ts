import type { Context } from '../command.ts';
import { apply as applyWorkspace } from '../databricks/apply.ts';
import { applyTableSteps } from '../databricks/data.ts';
import type { WorkspaceStep } from '../databricks/deploy.ts';
import { restartRun } from '../databricks/restart.ts';
import { putTemplate } from '../elasticsearch/template.ts';
import { Failure } from '../errors.ts';
import type { TopicFound } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { applyBroker, clusterNow } from './broker.ts';
import { kafkaSecrets, observeWorld, scopeOf, type Systems, type World } from './observe.ts';
import { planDeployment } from './plan.ts';
import { sentence, type Step, type Work } from './step.ts';

export type Applied = { jobs: Record<string, number>; /** Runs that were started in place of others. */ restarted: number[] };

/**
 * Does the steps from broker to index, then reads what they touched again: Failure APPLY_DID_NOT_TAKE where something still
 * differs. `rollbackTo` is only written into the history.
 */
export async function applyPlan(context: Context, systems: Systems, { wanted, found }: World, steps: readonly Step[], rollbackTo?: number): Promise<Applied> {
  const { config, progress } = context;
  await applyBroker(context, systems.aws, found.cluster, steps);
  const tableSteps = steps.flatMap((step) => (step.work.room === 'tables' ? [step.work.step] : []));
  if (tableSteps.length > 0) {
    for (const step of steps) if (step.work.room === 'tables') progress.update(sentence(step));
    await applyTableSteps(config, tableSteps, context.signal);
  }
  const workspaceSteps = steps.flatMap(({ work }) => (work.room === 'workspace' ? [work.step] : []));
  const late = (wanted.workspace.scope.pending ?? []).length > 0 && workspaceSteps.some((step) => step.do === 'put secrets');
  const secrets = late ? kafkaSecrets(await accessTo(systems.aws, await clusterNow(systems.aws, config.pipeline.cluster_name), config, 'pipeline')) : undefined;
  const workspaceWanted = late ? { ...wanted.workspace, scope: { ...wanted.workspace.scope, ...scopeOf(config, secrets) } } : wanted.workspace;
  const occasion = { at: new Date().toISOString(), what: steps.map(sentence), activeRuns: found.activeRuns, rollbackTo };
  const jobs = await applyWorkspace(systems.workspace, workspaceWanted, found.workspace, workspaceSteps, (step) => progress.update(sentenceOf(steps, step)), occasion);
  const restarted: number[] = [];
  for (const step of steps) {
    if (step.work.room === 'runs') restarted.push(...(await restarts(context, systems, step, step.work)));
    if (step.work.room === 'index' && systems.elasticsearch !== undefined) {
      progress.update(sentence(step));
      await putTemplate(systems.elasticsearch, step.work.step.index);
    }
  }
  await verify(context, systems, steps, rollbackTo !== undefined);
  return { jobs, restarted };
}

async function restarts({ progress }: Context, { workspace }: Systems, step: Step, { step: { runId } }: Extract<Work, { room: 'runs' }>): Promise<number[]> {
  progress.update(sentence(step));
  const next = await restartRun(workspace, runId);
  return next === undefined ? [] : [next];
}

/** The workspace checks itself while it applies; whatever else was touched is planned again and must be done. After a rollback the workspace is not as the bundle says. */
async function verify(context: Context, systems: Systems, steps: readonly Step[], isBack: boolean): Promise<void> {
  if (steps.every(({ work }) => ['workspace', 'runs'].includes(work.room))) return;
  context.progress.update('reading everything again');
  const { wanted, found } = await observeWorld(context, systems);
  checkTaken(context, steps, planDeployment(wanted, found).filter(({ work }) => work.room !== 'runs' && !(isBack && work.room === 'workspace')), found.topics);
}

/** Failure APPLY_DID_NOT_TAKE where steps are left; what only new logins have made visible is said instead, for the next plan. */
export function checkTaken({ config, progress }: Context, steps: readonly Step[], left: readonly Step[], topics: readonly TopicFound[]): void {
  const unseen = steps.some(({ work }) => work.room === 'logins') ? left.filter(({ action, work }) => work.room === 'topics' && action === 'change') : [];
  for (const step of unseen) progress.warn(`seen only now, and left as it is: ${sentence(step)}. See \`streamgauge plan -t ${config.target}\``);
  const copies = steps.flatMap(({ work }) => (work.room === 'topics' && work.step.do === 'create topic' ? [work.step] : [])).filter((step) => topics.find(({ name }) => name === step.name)?.replicationFactor !== step.replicationFactor);
  const what = [...left.filter((step) => !unseen.includes(step)).map(sentence), ...(unseen.length > 0 ? [] : copies.map(({ name, replicationFactor }) => `topic ${name}: replication factor is not ${replicationFactor}`))];
  if (what.length === 0) return;
  throw new Failure({
    code: 'APPLY_DID_NOT_TAKE',
    kind: 'remote',
    message: `every step was taken, and this still differs: ${what.join('; ')}`,
    hint: `See it again: \`streamgauge plan -t ${config.target}\`; somebody else may be changing it.`,
  });
}

function sentenceOf(steps: readonly Step[], done: WorkspaceStep): string {
  const step = steps.find(({ work }) => work.room === 'workspace' && work.step === done);
  return step === undefined ? done.do : sentence(step);
}
