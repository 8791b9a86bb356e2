import { randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../../errors.ts';
import type { Authority, Log, Runtime } from '../../contract.ts';
import type { BrokerPorts } from '../../servers/kafka-settings.ts';
import { startKafka, type Kafka } from '../../servers/kafka.ts';
import { assertPortFree } from '../../servers/port.ts';
import { openRecords } from '../disk.ts';
import { mskError } from './errors.ts';
import type { ClusterRecord, clusterWanted } from './shapes.ts';

export type ClustersOptions = {
  runtime: Pick<Runtime, 'java' | 'python' | 'kafkaClasspath'>;
  authority: Authority;
  stateDir: string;
  logDir: string;
  region: string;
  accountId: string;
  /** As many brokers as the platform has, over all clusters. */
  ports: readonly BrokerPorts[];
  /** The variable that moves the ports, for the message about a busy one. */
  portVariable: string;
  heapMb?: number;
  log: Log;
  signal?: AbortSignal;
};

/** All clusters, on disk and running. */
export type Clusters = {
  all(): ClusterRecord[];
  /** NotFoundException if there is none with this ARN. */
  get(arn: string): ClusterRecord;
  save(cluster: ClusterRecord): void;
  create(wanted: ReturnType<typeof clusterWanted>): ClusterRecord;
  remove(cluster: ClusterRecord): void;
  /** The brokers of an ACTIVE cluster; BadRequestException in every other state. */
  kafka(cluster: ClusterRecord): Kafka;
  stop(): Promise<void>;
};

/** Opens what was kept and starts the brokers of every cluster that had some; a start that fails is thrown. */
export async function openClusters(options: ClustersOptions): Promise<Clusters> {
  const records = openRecords<ClusterRecord>(join(options.stateDir, 'clusters'));
  const clusters = new Map(records.all().map((cluster) => [cluster.arn, cluster]));
  const running = new Map<string, Kafka>();
  const closing = new AbortController();
  const signal = AbortSignal.any([closing.signal, ...(options.signal ? [options.signal] : [])]);
  const work = new Set<Promise<void>>();
  const idOf = (arn: string) => arn.slice(arn.lastIndexOf('/') + 1);
  const folderOf = (cluster: ClusterRecord) => join(options.stateDir, 'kafka', idOf(cluster.arn));

  const save = (cluster: ClusterRecord) => {
    clusters.set(cluster.arn, cluster);
    records.save(idOf(cluster.arn), cluster);
  };
  const start = async (cluster: ClusterRecord) => {
    const brokers = cluster.slots.map((slot) => options.ports[slot] as BrokerPorts);
    for (const { clients, internal, controller } of brokers)
      for (const port of [clients, internal, controller]) await assertPortFree({ port, name: 'Kafka', variable: options.portVariable });
    const kafka = await startKafka({ ...options, signal, stateDir: folderOf(cluster), clusterId: cluster.kafkaId, brokers });
    running.set(cluster.arn, kafka);
    save({ ...cluster, state: 'ACTIVE', stateInfo: undefined });
    void kafka.failed.then((failure) => fail(cluster.arn, failure));
  };
  const fail = (arn: string, error: unknown) => {
    const cluster = clusters.get(arn);
    options.log(`cluster ${arn}: ${messageOf(error)}`);
    if (cluster && !signal.aborted) save({ ...cluster, state: 'FAILED', stateInfo: { code: 'BROKER_FAILED', message: messageOf(error) } });
  };
  const erase = async (cluster: ClusterRecord) => {
    await running.get(cluster.arn)?.stop();
    running.delete(cluster.arn);
    await rm(folderOf(cluster), { recursive: true, force: true });
    // The record last: a platform that is killed before this finishes the deletion when it starts again.
    records.drop(idOf(cluster.arn));
    clusters.delete(cluster.arn);
  };
  const inBackground = (task: Promise<void>) => {
    work.add(task);
    void task.finally(() => work.delete(task));
  };
  const stop = async () => {
    closing.abort(new Error('the platform stops'));
    await Promise.all(work);
    await Promise.all([...running.values()].map((kafka) => kafka.stop()));
  };

  const opened = await Promise.allSettled(
    [...clusters.values()].map((cluster) => (cluster.state === 'DELETING' ? erase(cluster) : cluster.state === 'FAILED' ? Promise.resolve() : start(cluster))),
  );
  const refused = opened.find((result) => result.status === 'rejected');
  if (refused !== undefined) {
    await stop();
    throw refused.reason;
  }

  return {
    all: () => [...clusters.values()].sort((a, b) => a.name.localeCompare(b.name)),
    get(arn) {
      const cluster = clusters.get(arn);
      if (cluster === undefined) throw mskError('NotFoundException', `The requested resource ${arn} does not exist.`, 'clusterArn');
      return cluster;
    },
    save,
    create(wanted) {
      if ([...clusters.values()].some(({ name }) => name === wanted.name)) throw mskError('ConflictException', `A resource already exists with the name ${wanted.name}.`, 'clusterName');
      const arn = `arn:aws:kafka:${options.region}:${options.accountId}:cluster/${wanted.name}/${randomUUID()}-1`;
      const identity = { arn, kafkaId: randomBytes(16).toString('base64url'), creationTime: new Date().toISOString(), currentVersion: `K${randomBytes(6).toString('hex').toUpperCase()}` };
      const cluster: ClusterRecord = { ...wanted, ...identity, state: 'CREATING', slots: freeSlots(options.ports.length, clusters, wanted.provisioned.numberOfBrokerNodes), scramSecrets: [] };
      save(cluster);
      inBackground(start(cluster).catch((error: unknown) => fail(arn, error)));
      return cluster;
    },
    remove(cluster) {
      if (cluster.state === 'DELETING') return;
      if (cluster.state === 'CREATING') throw mskError('BadRequestException', "You can't delete a cluster in state CREATING.", 'clusterArn');
      save({ ...cluster, state: 'DELETING' });
      inBackground(erase(cluster).catch((error: unknown) => fail(cluster.arn, error)));
    },
    kafka(cluster) {
      const kafka = running.get(cluster.arn);
      if (cluster.state !== 'ACTIVE' || kafka === undefined) throw mskError('BadRequestException', `The cluster is in state ${cluster.state}; this operation needs state ACTIVE.`, 'clusterArn');
      return kafka;
    },
    stop,
  };
}

/** Places for a new cluster's brokers; a clear refusal when other clusters have them. */
function freeSlots(most: number, clusters: Map<string, ClusterRecord>, wanted: number): number[] {
  const taken = new Set([...clusters.values()].flatMap((cluster) => cluster.slots));
  const free = Array.from({ length: most }, (_, slot) => slot).filter((slot) => !taken.has(slot));
  if (free.length < wanted)
    throw mskError('BadRequestException', `The local platform has ports for ${most} brokers over all clusters, and ${taken.size} are in use: delete a cluster, or ask for fewer brokers.`, 'numberOfBrokerNodes');
  return free.slice(0, wanted);
}
