import type { Command } from '../command.ts';
import { provisionWorld, type Provisioned } from '../deployment/provision.ts';
import { planBlocks, summary } from '../deployment/show.ts';
import { worst, type Drift, type Risk, type Step } from '../deployment/step.ts';

type Options = { yes?: boolean; dryRun?: boolean };
type Result = { changed: boolean; dryRun: boolean; risk: Risk; steps: Step[]; drift: Drift[]; cluster: (Provisioned['cluster'] & { auth: string }) | null; elasticsearch: string | null };

/** `streamgauge provision`: the broker's part of the plan, and the index template; only what is missing. */
export const provision: Command<Options, Result> = {
  name: 'provision',
  summary: 'The part of the plan before the workspace: MSK cluster (made or adopted), logins, topics, rights, and the index template.',
  examples: [
    ['streamgauge provision -t prod', 'make what is missing; run it again, and nothing changes'],
    ['streamgauge provision -t prod --var subnets=subnet-a,subnet-b,subnet-c --var security_groups=sg-1', 'a new cluster in these subnets'],
    ['streamgauge provision --var partitions=12', 'grow the topics to 12 partitions; asks before, as it cannot be undone'],
  ],
  options: {
    dryRun: { type: 'boolean', describe: 'Show what would be done, and do nothing' },
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask before what is more than safe' },
  },
  async run(context, { yes = false, dryRun = false }) {
    const { config, progress } = context;
    progress.stage('provision');
    const { steps, drift, ...done } = await provisionWorld(context, { yes, dryRun });
    const made = 'cluster' in done ? { cluster: { ...done.cluster, auth: config.pipeline.kafka_auth }, elasticsearch: done.elasticsearch } : { cluster: null, elasticsearch: null };
    return { changed: steps.length > 0, dryRun, risk: worst(steps.map(({ risk }) => risk)), steps, drift, ...made };
  },
  render({ dryRun, steps, drift, cluster, elasticsearch }) {
    const head = steps.length === 0 ? summary(steps) : `${dryRun ? 'Would do' : 'Done'}: ${summary(steps)}`;
    const facts: [string, string][] = cluster === null ? [] : [['cluster', `${cluster.name} (${cluster.state})`], ['arn', cluster.arn], ['brokers', `${cluster.brokers.join(', ')} (${cluster.auth})`], ['elasticsearch', elasticsearch ?? '']];
    return [...planBlocks(steps, drift), { kind: 'text', text: head }, ...(facts.length === 0 ? [] : [{ kind: 'facts' as const, facts }])];
  },
};
