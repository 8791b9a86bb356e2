import type { Context } from '../command.ts';
import { underDeployLock } from '../databricks/lock.ts';
import { placeOf } from '../databricks/bundle.ts';
import { warningsOf } from '../databricks/deploy.ts';
import { agreed } from './agree.ts';
import { applyPlan, type Applied } from './apply.ts';
import { observeWorld, openSystems, type Systems, type World } from './observe.ts';
import { driftOf, planDeployment } from './plan.ts';
import { sentence, type Drift, type Step } from './step.ts';

export type DeployOptions = {
  yes: boolean;
  dryRun: boolean;
  forceLock: boolean;
  /** Changes what is wanted (a rollback), with the world as it was found. */
  want?: (world: World, systems: Systems) => Promise<World>;
  /** Throws where these steps may not be done (a saved plan that is outdated). */
  check?: (world: World, steps: readonly Step[]) => void;
  rollbackTo?: number;
};

export type Deployed = { steps: Step[]; drift: Drift[]; world: World; host: string; applied: Applied | undefined };

/** Plans, shows, asks and applies, under the deployment's lock in the workspace; the lock goes when this ends, however it ends. */
export async function deployWorld(context: Context, options: DeployOptions): Promise<Deployed> {
  const { progress } = context;
  const systems = await openSystems(context);
  try {
    if (options.dryRun) return await underLock(context, systems, options);
    const { workspace, who } = systems;
    return await underDeployLock(workspace, placeOf(context.config, who), who, { force: options.forceLock, warn: progress.warn }, () => underLock(context, systems, options));
  } finally {
    await systems.close();
  }
}

async function underLock(context: Context, systems: Systems, options: DeployOptions): Promise<Deployed> {
  const { config, progress } = context;
  progress.update('reading everything from broker to index');
  const observed = await observeWorld(context, systems);
  const world = options.want === undefined ? observed : await options.want(observed, systems);
  const steps = planDeployment(world.wanted, world.found);
  options.check?.(world, steps);
  for (const warning of warningsOf(world.wanted.workspace, world.found.workspace)) progress.warn(warning);
  const done = { steps, drift: driftOf(world.wanted, world.found), world, host: systems.workspace.host };
  if (options.dryRun) return { ...done, applied: undefined };
  for (const step of steps) progress.note(sentence(step));
  if (steps.length > 0 && !options.yes && !config.ci) await agreed(context, `Do these ${steps.length} steps to target ${config.target}?`, 'deploy');
  return { ...done, applied: await applyPlan(context, systems, world, steps, options.rollbackTo) };
}
