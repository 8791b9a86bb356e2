import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { deployWorld } from '../deployment/deploy.ts';
import { checkPlan, readPlan } from '../deployment/file.ts';
import { planBlocks, summary } from '../deployment/show.ts';
import { worst, type Drift, type Risk, type Step } from '../deployment/step.ts';

type Options = { dryRun?: boolean; yes?: boolean; plan?: string; forceLock?: boolean };
type Result = {
  changed: boolean;
  dryRun: boolean;
  risk: Risk;
  workspace: string;
  folder: string;
  jobs: { key: string; name: string; id: number | null }[];
  steps: Step[];
  drift: Drift[];
  restarted: number[];
};

/** `streamgauge deploy`: makes everything from broker to index as the bundle says; only what differs, never twice. */
export const deploy: Command<Options, Result> = {
  name: 'deploy',
  summary: 'Make everything as the bundle says, from broker to index: plans, shows, asks, applies, and reads it again.',
  examples: [
    ['streamgauge deploy -t prod', 'show what would be done, ask, do it'],
    ['streamgauge deploy -t prod --yes', 'without asking; in CI nobody is asked anyway'],
    ['streamgauge deploy -t prod --plan prod.plan', 'exactly what `plan --out prod.plan` saved, or nothing where the world has moved'],
    ['streamgauge deploy --var window_minutes=5', 'deploy with another window length'],
  ],
  options: {
    dryRun: { type: 'boolean', describe: 'Show what would be done, and do nothing' },
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask' },
    plan: { type: 'string', requiresArg: true, describe: 'Do exactly what this saved plan says' },
    forceLock: { type: 'boolean', describe: 'Break the lock of a deployment that crashed' },
  },
  async run(context, { dryRun = false, yes = false, plan, forceLock = false }) {
    context.progress.stage('deploy');
    const saved = plan === undefined ? undefined : await readPlan(resolve(plan), context.config, 'deploy');
    const check = saved && plan !== undefined ? { check: (world: Parameters<typeof checkPlan>[1], steps: readonly Step[]) => checkPlan(saved, world, steps, plan) } : {};
    const { steps, drift, world, host, applied } = await deployWorld(context, { dryRun, yes: yes || saved !== undefined, forceLock, ...check });
    const { workspace } = world.wanted;
    const ids = applied?.jobs ?? Object.fromEntries(Object.entries(world.found.workspace.jobs).map(([key, job]) => [key, job.job_id]));
    const jobs = workspace.jobs.map(({ key, settings }) => ({ key, name: settings.name, id: ids[key] ?? null }));
    return { changed: steps.length > 0, dryRun, risk: worst(steps.map(({ risk }) => risk)), workspace: host, folder: workspace.place.root, jobs, steps, drift, restarted: applied?.restarted ?? [] };
  },
  render({ steps, drift, dryRun, workspace, folder, jobs, restarted }) {
    const head = steps.length === 0 ? summary(steps) : `${dryRun ? 'Would do' : 'Done'}: ${summary(steps)}`;
    const runs: [string, string][] = restarted.map((id) => ['restarted', `run ${id}: \`streamgauge run follow ${id}\``]);
    const facts: [string, string | number | null][] = [['workspace', workspace], ['folder', folder], ...jobs.map(({ name, id }): [string, string] => ['job', `${name}${id === null ? '' : ` (${id})`}`]), ...runs];
    return [...planBlocks(steps, drift), { kind: 'text', text: head }, { kind: 'facts', facts }];
  },
};
