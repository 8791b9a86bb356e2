import { resolve } from 'node:path';
import type { Block, Command, Context } from '../command.ts';
import { warningsOf } from '../databricks/deploy.ts';
import { destroyWorld } from '../deployment/destroy.ts';
import { planFile, removalPlanFile, writePlan } from '../deployment/file.ts';
import { observeWorld, openSystems } from '../deployment/observe.ts';
import { driftOf, planDeployment } from '../deployment/plan.ts';
import { planBlocks, summary } from '../deployment/show.ts';
import { worst, type Drift, type Risk, type Step } from '../deployment/step.ts';
import { EXIT, Failure } from '../errors.ts';

type Options = { out?: string; detailedExitcode?: boolean; destroy?: boolean; data?: boolean; force?: boolean };
type Result = { changed: boolean; risk: Risk; steps: Step[]; drift: Drift[]; tables: readonly string[] | null; saved: string | null; detailed: boolean; /** With --destroy: what is there and stays, because somebody else made it. */ kept?: { thing: string; name: string }[] };

/** `streamgauge plan`: every difference from broker to index, with its risk; changes nothing. */
export const plan: Command<Options, Result> = {
  name: 'plan',
  summary: 'Show what deploy would do from broker to index, field by field, each step with its risk; changes nothing.',
  examples: [
    ['streamgauge plan -t prod', 'what would change, and what that costs'],
    ['streamgauge plan -t prod --out prod.plan', 'save it: `deploy --plan prod.plan` does exactly that, or nothing'],
    ['streamgauge plan -t prod --detailed-exitcode', 'exit code 0: nothing to do; 7: there are changes'],
    ['streamgauge plan -t dev --destroy --data', 'what `destroy --data` would take away'],
  ],
  options: {
    out: { type: 'string', requiresArg: true, describe: 'File to save the plan in' },
    detailedExitcode: { type: 'boolean', describe: 'End with 7 where there is something to do' },
    destroy: { type: 'boolean', describe: 'Plan the end of everything that provision and deploy made' },
    data: { type: 'boolean', describe: 'With --destroy: the Delta tables and checkpoints as well' },
    force: { type: 'boolean', describe: 'With --destroy: secrets at once' },
  },
  async run(context, { out, detailedExitcode = false, destroy = false, data = false, force = false }) {
    if (destroy) return planDestroy(context, { out, detailed: detailedExitcode, data, force });
    if (data || force) throw new Failure({ code: 'USAGE', kind: 'usage', message: '--data and --force belong to --destroy', hint: 'Write `streamgauge plan --destroy --data`.' });
    const { config, progress } = context;
    progress.stage('plan');
    const systems = await openSystems(context);
    try {
      const world = await observeWorld(context, systems);
      const steps = planDeployment(world.wanted, world.found);
      for (const warning of warningsOf(world.wanted.workspace, world.found.workspace)) progress.warn(warning);
      if (out !== undefined) await writePlan(resolve(out), planFile(config, world, steps));
      if (systems.elasticsearch === undefined) progress.note('the index template was not looked at: the environment names no Elasticsearch');
      return { changed: steps.length > 0, risk: worst(steps.map(({ risk }) => risk)), steps, drift: driftOf(world.wanted, world.found), tables: world.found.tables ?? null, saved: out ?? null, detailed: detailedExitcode };
    } finally {
      await systems.close();
    }
  },
  render({ steps, drift, tables, saved, kept }) {
    if (kept !== undefined) return destroyBlocks(steps, kept, saved);
    const known = tables === null ? 'not looked at: no SQL warehouse answered' : tables.length === 0 ? 'none yet: the first run of the job makes them' : tables.join(', ');
    const facts: [string, string][] = [['tables', known], ...(saved === null ? [] : [['saved', `${saved}: \`streamgauge deploy --plan ${saved}\` does exactly this`] as [string, string]])];
    return [...planBlocks(steps, drift), { kind: 'text', text: summary(steps) }, { kind: 'facts', facts }];
  },
  exitCode: ({ detailed, changed }) => (detailed && changed ? EXIT.changes : EXIT.ok),
};

async function planDestroy(context: Context, { out, detailed, data, force }: { out: string | undefined; detailed: boolean; data: boolean; force: boolean }): Promise<Result> {
  context.progress.stage('plan to destroy');
  const { steps, kept, made } = await destroyWorld(context, { data, force, yes: false, dryRun: true, forceLock: false });
  if (out !== undefined) await writePlan(resolve(out), removalPlanFile(context.config, made, steps, { data, force }));
  return { changed: steps.length > 0, risk: worst(steps.map(({ risk }) => risk)), steps, drift: [], tables: data ? made.tables : null, saved: out ?? null, detailed, kept };
}

function destroyBlocks(steps: Step[], kept: { thing: string; name: string }[], saved: string | null): Block[] {
  const stays: [string, string][] = kept.map(({ thing, name }) => [`stays: ${thing}`, name]);
  const facts: [string, string][] = [...stays, ...(saved === null ? [] : [['saved', `${saved}: \`streamgauge destroy --plan ${saved}\` does exactly this`] as [string, string]])];
  const text = steps.length === 0 ? 'Nothing to do: nothing that provision or deploy made is there.' : summary(steps);
  return [...planBlocks(steps, []), { kind: 'text', text }, ...(facts.length === 0 ? [] : [{ kind: 'facts' as const, facts }])];
}
