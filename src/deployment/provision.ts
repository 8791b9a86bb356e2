import type { Context } from '../command.ts';
import { openElasticsearch } from '../elasticsearch/connect.ts';
import { findTemplate, indexTemplate, putTemplate } from '../elasticsearch/template.ts';
import { bootstrapBrokers } from '../msk/cluster.ts';
import { connectAws } from '../msk/clients.ts';
import { agreed } from './agree.ts';
import { checkTaken } from './apply.ts';
import { applyBroker, clusterNow } from './broker.ts';
import { observeBroker } from './observe.ts';
import { driftOf, planBroker, planIndex } from './plan.ts';
import { sentence, worst, type Drift, type Step } from './step.ts';

export type Provisioned = { steps: Step[]; drift: Drift[]; cluster: { name: string; arn: string; state: string; brokers: string[] }; elasticsearch: string };

/** The part of the one plan that needs no workspace: MSK, Kafka and the index template. Asks only before what costs more than it makes. */
export async function provisionWorld(context: Context, { yes, dryRun }: { yes: boolean; dryRun: boolean }): Promise<Provisioned | Pick<Provisioned, 'steps' | 'drift'>> {
  const { config, progress, signal } = context;
  const { pipeline } = config;
  const { index, cluster_name: name } = pipeline;
  // Before a cluster takes its 40 minutes: what is not configured is said at once.
  const elasticsearch = await openElasticsearch(config, signal);
  try {
    const aws = await connectAws(config.awsRegion);
    const observed = async () => {
      const [broker, template] = await Promise.all([observeBroker(context, aws), findTemplate(elasticsearch, index)]);
      const steps = [...planBroker(pipeline, broker), ...planIndex({ pipeline, template: indexTemplate(index) as Record<string, unknown> }, { template })];
      return { broker, steps };
    };
    const { broker, steps } = await observed();
    let drift = driftOf({ pipeline }, broker);
    if (dryRun) return { steps, drift };
    for (const step of steps) progress.note(sentence(step));
    if (worst(steps.map(({ risk }) => risk)) !== 'safe' && !yes && !config.ci) await agreed(context, `Do these ${steps.length} steps to target ${config.target}?`, 'provision');
    await applyBroker(context, aws, broker.cluster, steps);
    if (steps.some(({ work }) => work.room === 'index')) await putTemplate(elasticsearch, index);
    if (steps.length > 0) {
      progress.update('reading everything again');
      const again = await observed();
      checkTaken(context, steps, again.steps, again.broker.topics);
      // What somebody else made at the same time has the settings that it has.
      drift = driftOf({ pipeline }, again.broker);
    }
    const cluster = await clusterNow(aws, name);
    const brokers = await bootstrapBrokers(aws, cluster, pipeline.kafka_auth);
    return { steps, drift, cluster: { name, arn: cluster.arn, state: cluster.state, brokers }, elasticsearch: elasticsearch.url };
  } finally {
    await elasticsearch.close();
  }
}
