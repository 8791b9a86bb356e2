import { resolve } from 'node:path';
import type { Block, Command } from '../command.ts';
import { destroyWorld } from '../deployment/destroy.ts';
import { checkRemovalPlan, readPlan } from '../deployment/file.ts';
import { planBlocks, summary } from '../deployment/show.ts';
import { worst, type Risk, type Step } from '../deployment/step.ts';
import { Failure } from '../errors.ts';

type Options = { yes?: boolean; data?: boolean; force?: boolean; dryRun?: boolean; plan?: string; forceLock?: boolean };
type Result = { changed: boolean; dryRun: boolean; risk: Risk; steps: Step[]; kept: { thing: string; name: string }[] };

/** `streamgauge destroy`: takes back what provision and deploy made, by a plan; what was there before them stays. */
export const destroy: Command<Options, Result> = {
  name: 'destroy',
  summary: 'Delete what provision and deploy made: plans, shows, asks, does it, and looks again. Delta tables only with --data.',
  examples: [
    ['streamgauge destroy -t dev', 'show what would go, and ask'],
    ['streamgauge destroy -t dev --dry-run', 'only show it, with what each thing costs'],
    ['streamgauge destroy -t dev --plan end.plan', 'exactly what `plan --destroy --out end.plan` saved, or nothing where the world has moved'],
    ['streamgauge destroy -t dev --data --force --yes', 'without asking; tables and checkpoints too, and secrets without a recovery window'],
  ],
  options: {
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask' },
    dryRun: { type: 'boolean', describe: 'Show what would go, and do nothing' },
    plan: { type: 'string', requiresArg: true, describe: 'Do exactly what this saved plan says' },
    data: { type: 'boolean', describe: 'Drop the Delta tables as well, and the checkpoints of their streams' },
    forceLock: { type: 'boolean', describe: 'Break the lock of a deployment that crashed' },
    force: { type: 'boolean', describe: 'Delete secrets at once; without it they can be had back for 7 days' },
  },
  async run(context, { yes = false, data = false, force = false, dryRun = false, plan, forceLock = false }) {
    context.progress.stage('destroy');
    if (plan === undefined) return resultOf(await destroyWorld(context, { yes, data, force, dryRun, forceLock }), dryRun);
    if (data || force) throw new Failure({ code: 'USAGE', kind: 'usage', message: 'a saved plan says by itself what goes', hint: `Give --data and --force to \`streamgauge plan --destroy --out ${plan}\`.` });
    const saved = await readPlan(resolve(plan), context.config, 'destroy');
    const check = (made: Parameters<typeof checkRemovalPlan>[2], steps: readonly Step[]): void => checkRemovalPlan(saved, context.config, made, steps, plan);
    return resultOf(await destroyWorld(context, { ...saved.destroys, yes: true, dryRun, forceLock, check }), dryRun);
  },
  render({ steps, kept, dryRun }) {
    const text = steps.length === 0 ? 'Nothing to do: nothing that provision or deploy made is there.' : `${dryRun ? 'Would do' : 'Done'}: ${summary(steps)}`;
    return [...planBlocks(steps, []), ...keptBlocks(kept), { kind: 'text', text }];
  },
};

function resultOf({ steps, kept }: { steps: Step[]; kept: Result['kept'] }, dryRun: boolean): Result {
  return { changed: steps.length > 0, dryRun, risk: worst(steps.map(({ risk }) => risk)), steps, kept };
}

function keptBlocks(kept: Result['kept']): Block[] {
  return kept.length === 0 ? [] : [{ kind: 'table', title: 'Stays:', columns: ['', 'name'], rows: kept.map(({ thing, name }) => [thing, name]) }];
}
