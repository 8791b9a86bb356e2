import { randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../../errors.ts';
import type { Authority, Log, Runtime } from '../../contract.ts';
import type { BrokerPorts } from '../../servers/kafka-settings.ts';
import { startKafka, type Kafka } from '../../servers/kafka.ts';
import { assertPortFree } from '../../servers/port.ts';
import { openRecords } from '../../records.ts';
import type { Configurations } from './configurations.ts';
import { bad, mskError } from './errors.ts';
import type { ClusterRecord, ConfigurationInfo, Named, Wanted } from './shapes.ts';

export type ClustersOptions = {
  runtime: Pick<Runtime, 'java' | 'python' | 'kafkaClasspath'>;
  authority: Authority;
  stateDir: string;
  logDir: string;
  /** `arn:aws:kafka:region:account`. */
  arnPrefix: string;
  configurations: Pick<Configurations, 'propertiesOf'>;
  /** As many brokers as the platform has, over all clusters. */
  ports: readonly BrokerPorts[];
  /** The variable that moves the ports, for the message about a busy one. */
  portVariable: string;
  heapMb: number;
  log: Log;
  signal?: AbortSignal;
};

/** All clusters, on disk and running. */
export type Clusters = {
  all(): ClusterRecord[];
  /** NotFoundException if there is none with this ARN. */
  get(arn: string): ClusterRecord;
  /** Keeps what changed of the cluster. */
  change(arn: string, change: Partial<ClusterRecord>): void;
  create(name: Named, wanted: Wanted): ClusterRecord;
  /** Restarts the brokers of an ACTIVE cluster with this configuration, one after the other. */
  reconfigure(cluster: ClusterRecord, info: ConfigurationInfo): void;
  remove(cluster: ClusterRecord): void;
  /** The brokers of a cluster in one of these states, ACTIVE unless given; BadRequestException in every other state. */
  kafka(cluster: ClusterRecord, states?: readonly string[]): Kafka;
  /** Aborted when the platform stops. */
  closing: AbortSignal;
  stop(): Promise<void>;
};

const idOf = (arn: string) => arn.slice(arn.lastIndexOf('/') + 1);
const newVersion = () => `K${randomBytes(6).toString('hex').toUpperCase()}`;

/** Opens what was kept and starts the brokers of every cluster that had some; a start that fails is thrown. */
export async function openClusters(options: ClustersOptions): Promise<Clusters> {
  const { configurations, stateDir, ports } = options;
  const records = openRecords(join(stateDir, 'clusters'), (cluster: ClusterRecord) => idOf(cluster.arn));
  const running = new Map<string, Kafka>();
  const work = new Set<Promise<void>>();
  const stopping = new AbortController();
  const closing = AbortSignal.any([stopping.signal, ...(options.signal ? [options.signal] : [])]);
  const folderOf = (arn: string) => join(stateDir, 'kafka', idOf(arn));
  const propertiesOf = (info: ConfigurationInfo | undefined) => info && configurations.propertiesOf(info);

  function get(arn: string): ClusterRecord {
    const cluster = records.get(idOf(arn));
    if (cluster?.arn !== arn) throw mskError('NotFoundException', `The requested resource ${arn} does not exist.`, 'clusterArn');
    return cluster;
  }

  function change(arn: string, changed: Partial<ClusterRecord>): void {
    // Read anew: while a cluster starts, its tags may change.
    records.save({ ...get(arn), ...changed });
  }

  function kafka(cluster: ClusterRecord, states: readonly string[] = ['ACTIVE']): Kafka {
    const found = running.get(cluster.arn);
    if (found !== undefined && states.includes(cluster.state)) return found;
    throw bad(`The cluster is in state ${cluster.state}; this operation needs state ${states.join(' or ')}.`, 'clusterArn');
  }

  async function start({ arn, slots, kafkaId: clusterId, provisioned }: ClusterRecord): Promise<void> {
    const brokers = slots.map((slot) => ports[slot] as BrokerPorts);
    for (const port of brokers.flatMap(({ clients, internal, controller }) => [clients, internal, controller])) await assertPortFree({ port, name: 'Kafka', variable: options.portVariable });
    const started = await startKafka({ ...options, properties: propertiesOf(provisioned.configurationInfo), signal: closing, stateDir: folderOf(arn), clusterId, brokers });
    running.set(arn, started);
    change(arn, { state: 'ACTIVE', stateInfo: undefined });
    void started.failed.then((failure) => fail(arn, failure));
  }

  async function erase({ arn }: ClusterRecord): Promise<void> {
    await running.get(arn)?.stop();
    running.delete(arn);
    await rm(folderOf(arn), { recursive: true, force: true });
    // The record last: a platform that is killed before this finishes the deletion when it starts again.
    records.drop(idOf(arn));
  }

  function fail(arn: string, error: unknown): void {
    options.log(`cluster ${arn}: ${messageOf(error)}`);
    if (records.has(idOf(arn)) && !closing.aborted) change(arn, { state: 'FAILED', stateInfo: { code: 'BROKER_FAILED', message: messageOf(error) } });
  }

  function inBackground(arn: string, task: Promise<void>): void {
    const guarded = task.catch((error: unknown) => fail(arn, error)).finally(() => work.delete(guarded));
    work.add(guarded);
  }

  /** Places for a new cluster's brokers; a clear refusal when other clusters have them. */
  function freeSlots(count: number): number[] {
    const taken = new Set([...records.values()].flatMap((cluster) => cluster.slots));
    const free = [...ports.keys()].filter((slot) => !taken.has(slot));
    if (free.length >= count) return free.slice(0, count);
    throw bad(`The local platform has ports for ${ports.length} brokers over all clusters, and ${taken.size} are in use: delete a cluster, or ask for fewer brokers.`, 'numberOfBrokerNodes');
  }

  async function stop(): Promise<void> {
    stopping.abort(new Error('the platform stops'));
    await Promise.all(work);
    await Promise.all([...running.values()].map((one) => one.stop()));
  }

  const opened = await Promise.allSettled([...records.values()].filter(({ state }) => state !== 'FAILED').map((cluster) => (cluster.state === 'DELETING' ? erase : start)(cluster)));
  const refused = opened.find((result) => result.status === 'rejected');
  if (refused !== undefined) {
    await stop();
    throw refused.reason;
  }
  return {
    all: () => [...records.values()].sort((a, b) => a.name.localeCompare(b.name)),
    get,
    change,
    kafka,
    closing,
    stop,
    create({ clusterName: name, tags }, provisioned) {
      if ([...records.values()].some((other) => other.name === name)) throw mskError('ConflictException', `A resource already exists with the name ${name}.`, 'clusterName');
      propertiesOf(provisioned.configurationInfo);
      const arn = `${options.arnPrefix}:cluster/${name}/${randomUUID()}-1`;
      const identity = { arn, name, kafkaId: randomBytes(16).toString('base64url'), creationTime: new Date().toISOString(), currentVersion: newVersion() };
      const cluster = records.save({ ...identity, tags, provisioned, state: 'CREATING', slots: freeSlots(provisioned.numberOfBrokerNodes), scramSecrets: [] });
      inBackground(arn, start(cluster));
      return cluster;
    },
    reconfigure(cluster, configurationInfo) {
      const { arn, provisioned } = cluster;
      const [brokers, properties] = [kafka(cluster), configurations.propertiesOf(configurationInfo)];
      change(arn, { state: 'UPDATING' });
      // Kept when the brokers have it: a platform that is killed before this starts them with the old one.
      inBackground(arn, brokers.reconfigure(properties).then(() => change(arn, { state: 'ACTIVE', provisioned: { ...provisioned, configurationInfo }, currentVersion: newVersion() })));
    },
    remove(cluster) {
      if (cluster.state === 'DELETING') return;
      if (cluster.state === 'CREATING' || cluster.state === 'UPDATING') throw bad(`You can't delete a cluster in state ${cluster.state}.`, 'clusterArn');
      change(cluster.arn, { state: 'DELETING' });
      inBackground(cluster.arn, erase(cluster));
    },
  };
}
