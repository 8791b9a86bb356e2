import type { Pipeline } from '../config/config.ts';
import { poll } from '../poll.ts';
import type { Aws } from './clients.ts';
import { waitUntilServing, type ClusterFound } from './cluster.ts';
import { ifThere, translated, unlessThere } from './failures.ts';

export type Properties = Readonly<Record<string, string>>;

/** What the brokers are set to: by the cluster's configuration, and by the one that a new cluster would get. */
export type ConfigurationFound = Readonly<{ attached: Properties | undefined; own: { arn: string; revision: number; properties: Properties } | undefined }>;

export type ConfigurationStep =
  | { do: 'write configuration'; name: string; properties: Properties }
  | { do: 'configure cluster'; name: string; changes: { name: string; from: string | null; to: string }[] };

/** A configuration has no tags: this tells ours from somebody else's of the same name. */
const MARK = 'made by streamgauge';
/** MSK restarts one broker after the other: a quarter of an hour each is not rare. */
const UPDATE_DEADLINE_MS = 3 * 3600_000;
/** What somebody else has just made is listed a moment later. */
const LISTED_DEADLINE_MS = 30_000;

/** The name of a cluster's configuration. */
export function configurationNameOf(cluster: string): string {
  return `${cluster}-streamgauge`;
}

/**
 * Broker properties that the pipeline relies on. Not `allow.everyone.if.no.acl.found=false`: the first SCRAM user could then give
 * nobody a right, itself included. The admin's rights on everything shut all others out as well (kafka/acls.ts).
 */
export function wantedProperties({ replication_factor: copies, min_insync_replicas: inSync }: Pipeline): Properties {
  return { 'auto.create.topics.enable': 'false', 'default.replication.factor': String(copies), 'min.insync.replicas': String(inSync) };
}

/** The properties of the cluster's configuration; where there is no cluster, of the one that it would get. */
export async function observeConfiguration(aws: Aws, name: string, cluster: ClusterFound | undefined): Promise<ConfigurationFound> {
  const attached = cluster?.configuration && (await propertiesOf(aws, cluster.configuration));
  return { attached, own: cluster === undefined || attached === undefined ? await findConfiguration(aws, name) : undefined };
}

/** What differs between wanted and found; a cluster of somebody else keeps what it has. Pure. */
export function planConfiguration(pipeline: Pipeline, cluster: ClusterFound | undefined, { attached, own }: ConfigurationFound): ConfigurationStep[] {
  const properties = wantedProperties(pipeline);
  const name = configurationNameOf(pipeline.cluster_name);
  if (cluster === undefined) return own !== undefined && changesOf(properties, own.properties).length === 0 ? [] : [{ do: 'write configuration', name, properties }];
  const changes = cluster.ours ? changesOf(properties, attached ?? {}) : [];
  return changes.length === 0 ? [] : [{ do: 'configure cluster', name: cluster.name, changes }];
}

/** Fields in which the brokers of somebody else's cluster are set to something else. Pure. */
export function configurationDrift(pipeline: Pipeline, cluster: ClusterFound | undefined, { attached }: ConfigurationFound): { name: string; from: string | null; to: string }[] {
  return cluster === undefined || cluster.ours || attached === undefined ? [] : changesOf(wantedProperties(pipeline), attached).filter(({ from }) => from !== null);
}

function changesOf(wanted: Properties, found: Properties): { name: string; from: string | null; to: string }[] {
  return Object.entries(wanted).flatMap(([name, to]) => (found[name] === to ? [] : [{ name, from: found[name] ?? null, to }]));
}

/** Does one step; `configure cluster` returns when every broker has been restarted with it. */
export async function applyConfigurationStep(aws: Aws, step: ConfigurationStep, options: { signal?: AbortSignal; onState(state: string): void }): Promise<void> {
  if (step.do === 'write configuration') return void (await writeConfiguration(aws, step.name, step.properties));
  const settled = (accept: (cluster: ClusterFound) => boolean): Promise<ClusterFound> =>
    poll({ what: `cluster ${step.name} to have its configuration`, deadlineMs: UPDATE_DEADLINE_MS, intervalMs: 500, maxIntervalMs: 10_000, signal: options.signal }, async () => {
      const cluster = await waitUntilServing(aws, step.name, options);
      return cluster.state === 'ACTIVE' && accept(cluster) ? cluster : undefined;
    });
  // An update that a killed deployment began is waited for, not begun again.
  const cluster = await settled(() => true);
  const before = cluster.configuration === undefined ? {} : await propertiesOf(aws, cluster.configuration);
  const wanted = Object.fromEntries(step.changes.map(({ name, to }) => [name, to]));
  if (changesOf(wanted, before).length === 0) return;
  const { arn, revision } = await writeConfiguration(aws, configurationNameOf(step.name), { ...before, ...wanted });
  const input = { ClusterArn: cluster.arn, CurrentVersion: cluster.version, ConfigurationInfo: { Arn: arn, Revision: revision } };
  await translated(`configuring cluster ${step.name}`, () => aws.msk.send(new aws.api.msk.UpdateClusterConfigurationCommand(input)));
  await settled(({ configuration }) => configuration?.arn === arn && configuration.revision === revision);
}

/** Our configuration of this cluster with its newest revision, or undefined. */
export async function findConfiguration(aws: Aws, cluster: string): Promise<ConfigurationFound['own']> {
  const name = configurationNameOf(cluster);
  const found = await translated('listing configurations', async () => {
    for await (const page of aws.api.msk.paginateListConfigurations({ client: aws.msk }, {})) {
      const one = page.Configurations?.find((configuration) => configuration.Name === name && configuration.Description === MARK);
      if (one?.Arn !== undefined && one.LatestRevision?.Revision !== undefined) return { arn: one.Arn, revision: one.LatestRevision.Revision };
    }
    return undefined;
  });
  return found && { ...found, properties: await propertiesOf(aws, found) };
}

/** Deletes our configuration; no cluster may use it any more. */
export async function deleteConfiguration(aws: Aws, arn: string): Promise<void> {
  await ifThere('deleting the configuration', () => aws.msk.send(new aws.api.msk.DeleteConfigurationCommand({ Arn: arn })));
}

/** A configuration with these properties as its newest revision: made, or with one revision more where it is another. */
async function writeConfiguration(aws: Aws, name: string, properties: Properties): Promise<{ arn: string; revision: number }> {
  const find = () => findConfiguration(aws, name.replace(/-streamgauge$/, ''));
  const known = await find();
  if (known !== undefined && changesOf(properties, known.properties).length === 0) return known;
  const content = { Description: MARK, ServerProperties: Buffer.from(`${Object.entries(properties).map(([key, value]) => `${key}=${value}`).join('\n')}\n`) };
  const answer = await unlessThere(`writing configuration ${name}`, () =>
    known === undefined ? aws.msk.send(new aws.api.msk.CreateConfigurationCommand({ Name: name, ...content })) : aws.msk.send(new aws.api.msk.UpdateConfigurationCommand({ Arn: known.arn, ...content })),
  );
  if (answer === undefined) {
    // Somebody else wrote one since: it is this one, or gets a revision more.
    const hint = `See whose it is (aws kafka list-configurations); one that streamgauge did not make has to go, or the cluster needs another name: --var cluster_name=NAME`;
    await poll({ what: `configuration ${name}, which somebody else has made,`, deadlineMs: LISTED_DEADLINE_MS, intervalMs: 500, hint }, find);
    return writeConfiguration(aws, name, properties);
  }
  return { arn: answer.Arn ?? '', revision: answer.LatestRevision?.Revision ?? 1 };
}

async function propertiesOf(aws: Aws, { arn, revision }: { arn: string; revision: number }): Promise<Properties> {
  const answer = await translated('reading a configuration', () => aws.msk.send(new aws.api.msk.DescribeConfigurationRevisionCommand({ Arn: arn, Revision: revision })));
  const lines = Buffer.from(answer.ServerProperties ?? []).toString('utf8').split(/\r?\n/);
  return Object.fromEntries(lines.flatMap((line) => {
    const [, name, value] = /^\s*([^#=\s][^=\s]*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    return name === undefined || value === undefined ? [] : [[name, value]];
  }));
}
