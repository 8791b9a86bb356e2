import type { Command } from '../command.ts';
import { describe } from '../databricks/files.ts';
import { observe } from '../databricks/observe.ts';
import { contentFor } from '../databricks/state.ts';
import { deployWorld } from '../deployment/deploy.ts';
import { activeRunsOf, type Systems, type World } from '../deployment/observe.ts';
import { planBlocks, summary } from '../deployment/show.ts';
import type { Step } from '../deployment/step.ts';
import { Failure } from '../errors.ts';

type Options = { number?: number; dryRun?: boolean; yes?: boolean; forceLock?: boolean };
type Result = { to: number; changed: boolean; dryRun: boolean; steps: Step[] };

/** `streamgauge rollback N`: notebooks and jobs as deployment N left them; broker and index stay as the bundle says. */
export const rollback: Command<Options, Result> = {
  name: 'rollback',
  positionals: '<number>',
  summary: 'Bring notebooks and jobs back to an earlier deployment: plans, shows, asks, applies.',
  examples: [
    ['streamgauge rollback 3 -t prod', 'back to what deployment 3 of `history` deployed'],
    ['streamgauge rollback 3 --dry-run', 'show what would change'],
  ],
  options: {
    dryRun: { type: 'boolean', describe: 'Show what would be done, and do nothing' },
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask' },
    forceLock: { type: 'boolean', describe: 'Break the lock of a deployment that crashed' },
  },
  async run(context, { number: to, dryRun = false, yes = false, forceLock = false }) {
    if (typeof to !== 'number' || !Number.isInteger(to)) throw new Failure({ code: 'USAGE', kind: 'usage', message: 'rollback needs the number of a deployment', hint: 'See them: `streamgauge history`.' });
    context.progress.stage(`rollback to ${to}`);
    const want = (world: World, systems: Systems): Promise<World> => earlier(world, systems, to);
    const { steps } = await deployWorld(context, { dryRun, yes, forceLock, want, rollbackTo: to });
    return { to, changed: steps.length > 0, dryRun, steps };
  },
  render: ({ steps, dryRun, to }) => [...planBlocks(steps, []), { kind: 'text', text: steps.length === 0 ? `Nothing to do: everything is as deployment ${to} left it.` : `${dryRun ? 'Would do' : 'Done'}: ${summary(steps)}` }],
};

/** The same world, with the files and jobs of that deployment wanted in place of the bundle's. */
async function earlier({ wanted, found }: World, { workspace }: Systems, to: number): Promise<World> {
  const { state } = found.workspace;
  const deployment = state.history?.find(({ number }) => number === to);
  const unknown = (message: string): Failure => new Failure({ code: 'DEPLOYMENT_UNKNOWN', kind: 'usage', message, hint: 'See those that can be brought back: `streamgauge history`.' });
  if (deployment === undefined) throw unknown(`the history holds no deployment ${to}`);
  const files = await Promise.all(
    Object.entries(deployment.files).map(async ([path, sha256]) => {
      const content = await contentFor(workspace, wanted.workspace.place, state, sha256);
      if (content === undefined) throw unknown(`${path} of deployment ${to} is kept no longer`);
      return describe(path, content);
    }),
  );
  const jobs = Object.entries(deployment.jobs).map(([key, settings]) => ({ key, settings }));
  const changed = { ...wanted.workspace, files, jobs };
  // Looked for anew: a job that was not there then goes, and one that the bundle no longer has may be there.
  const there = await observe(workspace, changed);
  return { wanted: { ...wanted, workspace: changed }, found: { ...found, workspace: there, activeRuns: await activeRunsOf(workspace, changed, there) } };
}
