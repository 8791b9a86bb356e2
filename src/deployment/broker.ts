import type { Context } from '../command.ts';
import { Failure } from '../errors.ts';
import { applyAclStep } from '../kafka/acls.ts';
import { logIn, withAdmin, type KafkaAccess } from '../kafka/connect.ts';
import { applyTopicStep, findTopics } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import type { Aws } from '../msk/clients.ts';
import { createCluster, findCluster, waitUntilServing, type ClusterFound } from '../msk/cluster.ts';
import { applyConfigurationStep, findConfiguration } from '../msk/configuration.ts';
import { applyLoginStep } from '../msk/logins.ts';
import { ownTopic } from '../msk/ownership.ts';
import { poll } from '../poll.ts';
import { sentence, type Step } from './step.ts';

/** MSK says that a new user, or a new password, may take ten minutes to reach the brokers. */
export const LOGIN_DEADLINE_MS = 11 * 60_000;

/** Does the plan's steps in MSK and Kafka, each when what it needs is there; nothing is asked where there is none. */
export async function applyBroker(context: Context, aws: Aws, found: ClusterFound | undefined, steps: readonly Step[]): Promise<void> {
  const { config, progress, signal } = context;
  const mine = steps.filter(({ work }) => ['configuration', 'cluster', 'logins', 'topics', 'rights'].includes(work.room));
  if (mine.length === 0 && found !== undefined) return;
  const said = (step: Step): void => progress.update(sentence(step));
  const states = { signal, onState: (state: string) => progress.update(`cluster ${config.pipeline.cluster_name}: ${state}`) };
  for (const step of mine) {
    if (step.work.room !== 'configuration' && step.work.room !== 'cluster') continue;
    said(step);
    if (step.work.room === 'configuration') await applyConfigurationStep(aws, step.work.step, states);
    else if (!(await createCluster(aws, config.pipeline, await findConfiguration(aws, config.pipeline.cluster_name)))) progress.note(`somebody else has begun cluster ${config.pipeline.cluster_name} meanwhile: it is waited for, and taken as it is`);
  }
  const cluster = await waitUntilServing(aws, config.pipeline.cluster_name, states);
  for (const step of mine) if (step.work.room === 'logins') {
    said(step);
    await applyLoginStep(aws, cluster, step.work.step, signal);
  }
  const inside = mine.filter(({ work }) => work.room === 'topics' || work.room === 'rights');
  const newLogins = mine.some(({ work }) => work.room === 'logins');
  if (inside.length === 0 && !newLogins) return;
  const access = await accessTo(aws, cluster, config, 'admin');
  await admitted(context, access, newLogins);
  await withAdmin(access, 'making topics and rights', async (admin) => {
    // Where nobody could look before (an adopted cluster, new logins), a topic may be there: then what differs is the next plan's.
    const there = newLogins ? await findTopics(admin, config.pipeline.topics) : [];
    for (const step of inside) {
      if (step.work.room === 'topics' && step.work.step.do === 'create topic' && there.some(({ name }) => name === step.name)) continue;
      said(step);
      if (step.work.room === 'rights') await applyAclStep(admin, step.work.step);
      if (step.work.room !== 'topics') continue;
      // Before it is there: who is killed in between must not leave a topic that nobody made. All topics of our own cluster go with it.
      if (step.work.step.do === 'create topic' && !cluster.ours) await ownTopic(aws, cluster, step.work.step.name);
      await applyTopicStep(admin, step.work.step);
    }
  });
}

/** Resolves once the brokers let this user in; a login that was made just now may not have reached every broker. */
export async function admitted({ config, progress, signal }: Context, access: KafkaAccess, isNew: boolean): Promise<void> {
  if (!isNew) return logIn(access);
  progress.update('waiting for the brokers to know the new users');
  const hint = `Run again in some minutes: streamgauge provision -t ${config.target}`;
  await poll({ what: 'the brokers to know the new users', deadlineMs: LOGIN_DEADLINE_MS, intervalMs: 300, maxIntervalMs: 10_000, signal, hint }, async () => {
    try {
      await logIn(access);
      return true;
    } catch (error) {
      if (error instanceof Failure && error.code === 'KAFKA_AUTHENTICATION_FAILED') return undefined;
      throw error;
    }
  });
}

/** The cluster, which a deployment has made by now. */
export async function clusterNow(aws: Aws, name: string): Promise<ClusterFound> {
  const cluster = await findCluster(aws, name);
  if (cluster !== undefined) return cluster;
  throw new Failure({ code: 'CLUSTER_NOT_FOUND', kind: 'remote', message: `cluster ${name} is gone`, hint: 'Plan again: `streamgauge plan`.' });
}
