import type { Block, Command, Context } from '../command.ts';
import { admitted } from '../deployment/broker.ts';
import { ensureTemplate } from '../elasticsearch/template.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { applyAclStep, findRights, planRights, wantedRights } from '../kafka/acls.ts';
import { withAdmin, type KafkaAccess } from '../kafka/connect.ts';
import { applyTopicStep, findTopics, planTopics, wantedTopics, type TopicStep } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { connectAws, type Aws } from '../msk/clients.ts';
import { createCluster, findCluster, planCluster, waitUntilServing, type ClusterFound } from '../msk/cluster.ts';
import { applyLoginStep, keyAliasOf, observeLogins, planLogins, ROLES, secretNameOf, usernameOf, type LoginStep } from '../msk/logins.ts';
import { ownTopic } from '../msk/ownership.ts';

/** One thing that has to exist, and what was done about it now. */
type Done = { thing: 'cluster' | 'key' | 'secret' | 'association' | 'topic' | 'rights' | 'index template'; name: string; changed: boolean; what: string };
type Result = { changed: boolean; cluster: { name: string; arn: string; state: string; brokers: string[]; auth: string }; elasticsearch: string; steps: Done[] };

/** `streamgauge provision`: cluster, logins, topics, rights and index template; only what is missing. */
export const provision: Command<Record<never, never>, Result> = {
  name: 'provision',
  summary: 'Create or adopt the MSK cluster, and make logins, topics, rights and the index template that the pipeline needs.',
  examples: [
    ['streamgauge provision -t prod', 'make what is missing; run it again, and nothing changes'],
    ['streamgauge provision -t prod --var subnets=subnet-a,subnet-b,subnet-c --var security_groups=sg-1', 'a new cluster in these subnets'],
    ['streamgauge provision --var partitions=12', 'grow the topics to 12 partitions'],
  ],
  options: {},
  async run(context) {
    const { config, signal } = context;
    // Before a cluster takes its 40 minutes: what is not configured is said at once.
    const elasticsearch = await openElasticsearch(config, signal);
    const aws = await connectAws(config.awsRegion);
    const cluster = await provideCluster(context, aws);
    const logins = config.pipeline.kafka_auth === 'scram' ? await provideLogins(context, aws, cluster.found) : [];
    const access = await accessTo(aws, cluster.found, config, 'admin');
    await admitted(context, access, logins.some(({ changed }) => changed));
    const topics = await provideTopics(context, aws, cluster.found, access);
    const rights = config.pipeline.kafka_auth === 'scram' ? await provideRights(context, access) : [];
    const template = await provideTemplate(context, elasticsearch);
    const steps = [...cluster.done, ...logins, ...topics, ...rights, ...template];
    const { name, arn, state } = cluster.found;
    const brokers = [...access.brokers];
    return { changed: steps.some(({ changed }) => changed), cluster: { name, arn, state, brokers, auth: config.pipeline.kafka_auth }, elasticsearch: elasticsearch.url, steps };
  },
  render({ changed, cluster, elasticsearch, steps }): Block[] {
    const named = steps.map(({ thing, name }) => `${thing} ${name}`).join(', ');
    const head: Block = changed
      ? { kind: 'table', columns: ['', 'name', 'done'], rows: steps.map(({ thing, name, what }) => [thing, name, what]) }
      : { kind: 'text', text: `Nothing to do: ${named} are as configured.` };
    const facts: [string, string][] = [['cluster', `${cluster.name} (${cluster.state})`], ['arn', cluster.arn], ['brokers', `${cluster.brokers.join(', ')} (${cluster.auth})`], ['elasticsearch', elasticsearch]];
    return [head, { kind: 'facts', facts }];
  },
};

async function provideCluster({ config, progress, signal }: Context, aws: Aws): Promise<{ found: ClusterFound; done: Done[] }> {
  const { pipeline } = config;
  progress.stage(`cluster ${pipeline.cluster_name}`);
  const found = await findCluster(aws, pipeline.cluster_name);
  const steps = planCluster(pipeline, found);
  for (const step of steps) {
    progress.note(`creating MSK cluster ${step.name}: ${step.brokers} x ${step.instanceType}, Kafka ${step.kafkaVersion}`);
    await createCluster(aws, pipeline);
  }
  const serving = await waitUntilServing(aws, pipeline.cluster_name, { signal, onState: (state) => progress.update(state) });
  const what = steps.length > 0 ? `created (${serving.state})` : found?.state === 'CREATING' ? `its creation was awaited` : serving.ours ? 'there' : 'adopted';
  return { found: serving, done: [{ thing: 'cluster', name: serving.name, changed: steps.length > 0, what }] };
}

async function provideLogins({ progress, signal }: Context, aws: Aws, cluster: ClusterFound): Promise<Done[]> {
  progress.stage('logins');
  const steps = planLogins(cluster.name, await observeLogins(aws, cluster.name, cluster));
  for (const step of steps) {
    progress.update(sentence(step));
    await applyLoginStep(aws, cluster, step, signal);
  }
  const done = (thing: Done['thing'], name: string, step: LoginStep | undefined): Done => ({ thing, name, changed: step !== undefined, what: step === undefined ? 'there' : (step.do.split(' ')[0] ?? '').replace(/e?$/, 'ed') });
  const association = steps.find((step) => step.do === 'associate secrets');
  return [
    done('key', keyAliasOf(cluster.name), steps.find((step) => step.do === 'create key')),
    ...ROLES.map((role) => done('secret', secretNameOf(cluster.name, role), steps.find((step) => 'role' in step && step.role === role))),
    ...ROLES.map((role) => done('association', usernameOf(cluster.name, role), association?.names.includes(secretNameOf(cluster.name, role)) ? association : undefined)),
  ];
}

function sentence(step: LoginStep): string {
  return step.do === 'create key' ? `create key ${step.alias}` : step.do === 'associate secrets' ? `associate ${step.names.length} secrets` : `${step.do} ${step.name}`;
}

async function provideTopics({ config, progress }: Context, aws: Aws, cluster: ClusterFound, access: KafkaAccess): Promise<Done[]> {
  progress.stage('topics');
  const wanted = wantedTopics(config.pipeline);
  const steps = await withAdmin(access, 'providing topics', async (admin) => {
    const planned = planTopics(wanted, await findTopics(admin, config.pipeline.topics));
    for (const step of planned) {
      progress.update(`${step.do} ${step.name}`);
      await applyTopicStep(admin, step);
      // All topics of a cluster that provision made go with it.
      if (step.do === 'create topic' && !cluster.ours) await ownTopic(aws, cluster, step.name);
    }
    return planned;
  });
  return wanted.map(({ name }) => {
    const own = steps.filter((step) => step.name === name);
    return { thing: 'topic', name, changed: own.length > 0, what: own.length === 0 ? 'there' : own.map(topicSentence).join(', ') };
  });
}

function topicSentence(step: TopicStep): string {
  if (step.do === 'create topic') return `created with ${step.partitions} partitions, ${step.replicationFactor} copies`;
  if (step.do === 'grow topic') return `grown from ${step.from} to ${step.to} partitions`;
  return step.changes.map(({ name, from, to }) => `${name} ${from ?? '(unknown)'} -> ${to}`).join(', ');
}

async function provideRights({ config, progress }: Context, access: KafkaAccess): Promise<Done[]> {
  progress.stage('rights');
  const { cluster_name: cluster } = config.pipeline;
  const users = { admin: usernameOf(cluster, 'admin'), pipeline: usernameOf(cluster, 'pipeline') };
  const steps = await withAdmin(access, 'giving rights', async (admin) => {
    const planned = planRights(wantedRights(config.pipeline, users), await findRights(admin, Object.values(users)));
    for (const step of planned) await applyAclStep(admin, step);
    return planned;
  });
  const given = steps.flatMap((step) => step.rights);
  return Object.values(users).map((user) => {
    const count = given.filter((right) => right.user === user).length;
    return { thing: 'rights', name: user, changed: count > 0, what: count > 0 ? `${count} given` : 'there' };
  });
}

async function provideTemplate({ config, progress }: Context, elasticsearch: Elasticsearch): Promise<Done[]> {
  progress.stage('index template');
  const { index } = config.pipeline;
  try {
    const outcome = await ensureTemplate(elasticsearch, index);
    return [{ thing: 'index template', name: index, changed: outcome !== 'unchanged', what: outcome === 'unchanged' ? 'there' : outcome }];
  } finally {
    await elasticsearch.close();
  }
}
