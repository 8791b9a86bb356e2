import { randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../../errors.ts';
import type { Authority, Log, Runtime } from '../../contract.ts';
import type { BrokerPorts } from '../../servers/kafka-settings.ts';
import { startKafka, type Kafka } from '../../servers/kafka.ts';
import { assertPortFree } from '../../servers/port.ts';
import { openRecords, type Records } from '../disk.ts';
import type { ConfigurationInfo, Configurations } from './configurations.ts';
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
  configurations: Pick<Configurations, 'propertiesOf'>;
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
  /** Restarts the brokers of an ACTIVE cluster with this configuration, one after the other. */
  reconfigure(cluster: ClusterRecord, info: ConfigurationInfo): void;
  /** The brokers of a cluster in one of these states, ACTIVE unless given; BadRequestException in every other state. */
  kafka(cluster: ClusterRecord, states?: readonly string[]): Kafka;
  /** Aborted when the platform stops. */
  closing: AbortSignal;
  stop(): Promise<void>;
};

/** What is on disk, what runs, and what is under way. */
type Book = {
  options: ClustersOptions;
  records: Records<ClusterRecord>;
  clusters: Map<string, ClusterRecord>;
  running: Map<string, Kafka>;
  work: Set<Promise<void>>;
  /** Aborted when the platform stops: what fails after that is no failure. */
  signal: AbortSignal;
};

/** Opens what was kept and starts the brokers of every cluster that had some; a start that fails is thrown. */
export async function openClusters(options: ClustersOptions): Promise<Clusters> {
  const records = openRecords<ClusterRecord>(join(options.stateDir, 'clusters'));
  const closing = new AbortController();
  const signal = AbortSignal.any([closing.signal, ...(options.signal ? [options.signal] : [])]);
  const book: Book = { options, records, clusters: new Map(records.all().map((cluster) => [cluster.arn, cluster])), running: new Map(), work: new Set(), signal };
  const stop = async () => {
    closing.abort(new Error('the platform stops'));
    await Promise.all(book.work);
    await Promise.all([...book.running.values()].map((kafka) => kafka.stop()));
  };
  const opened = await Promise.allSettled([...book.clusters.values()].map((cluster) => reopen(book, cluster)));
  const refused = opened.find((result) => result.status === 'rejected');
  if (refused !== undefined) {
    await stop();
    throw refused.reason;
  }
  return {
    all: () => [...book.clusters.values()].sort((a, b) => a.name.localeCompare(b.name)),
    get: (arn) => get(book, arn),
    save: (cluster) => save(book, cluster),
    create: (wanted) => create(book, wanted),
    remove: (cluster) => remove(book, cluster),
    reconfigure: (cluster, info) => reconfigure(book, cluster, info),
    kafka: (cluster, states) => kafkaOf(book, cluster, states),
    closing: signal,
    stop,
  };
}

function kafkaOf({ running }: Book, cluster: ClusterRecord, states: readonly string[] = ['ACTIVE']): Kafka {
  const kafka = running.get(cluster.arn);
  if (!states.includes(cluster.state) || kafka === undefined) throw mskError('BadRequestException', `The cluster is in state ${cluster.state}; this operation needs state ${states.join(' or ')}.`, 'clusterArn');
  return kafka;
}

function reopen(book: Book, cluster: ClusterRecord): Promise<void> {
  if (cluster.state === 'DELETING') return erase(book, cluster);
  return cluster.state === 'FAILED' ? Promise.resolve() : start(book, cluster);
}

function get(book: Book, arn: string): ClusterRecord {
  const cluster = book.clusters.get(arn);
  if (cluster === undefined) throw mskError('NotFoundException', `The requested resource ${arn} does not exist.`, 'clusterArn');
  return cluster;
}

function save({ clusters, records }: Book, cluster: ClusterRecord): void {
  clusters.set(cluster.arn, cluster);
  records.save(idOf(cluster), cluster);
}

function create(book: Book, wanted: ReturnType<typeof clusterWanted>): ClusterRecord {
  const { options, clusters } = book;
  if ([...clusters.values()].some(({ name }) => name === wanted.name)) throw mskError('ConflictException', `A resource already exists with the name ${wanted.name}.`, 'clusterName');
  const arn = `arn:aws:kafka:${options.region}:${options.accountId}:cluster/${wanted.name}/${randomUUID()}-1`;
  const identity = { arn, kafkaId: randomBytes(16).toString('base64url'), creationTime: new Date().toISOString(), currentVersion: newVersion() };
  if (wanted.configuration) options.configurations.propertiesOf(wanted.configuration);
  const slots = freeSlots(options.ports.length, clusters, wanted.provisioned.numberOfBrokerNodes);
  const cluster: ClusterRecord = { ...wanted, ...identity, state: 'CREATING', slots, scramSecrets: [] };
  save(book, cluster);
  inBackground(book, arn, start(book, cluster));
  return cluster;
}

function reconfigure(book: Book, cluster: ClusterRecord, configuration: ConfigurationInfo): void {
  const kafka = kafkaOf(book, cluster);
  const properties = book.options.configurations.propertiesOf(configuration);
  save(book, { ...cluster, state: 'UPDATING' });
  // Kept when the brokers have it: a platform that is killed before this starts them with the old one.
  inBackground(book, cluster.arn, kafka.reconfigure(properties).then(() => save(book, { ...get(book, cluster.arn), state: 'ACTIVE', configuration, currentVersion: newVersion() })));
}

function newVersion(): string {
  return `K${randomBytes(6).toString('hex').toUpperCase()}`;
}

function remove(book: Book, cluster: ClusterRecord): void {
  if (cluster.state === 'DELETING') return;
  if (['CREATING', 'UPDATING'].includes(cluster.state)) throw mskError('BadRequestException', `You can't delete a cluster in state ${cluster.state}.`, 'clusterArn');
  save(book, { ...cluster, state: 'DELETING' });
  inBackground(book, cluster.arn, erase(book, cluster));
}

async function start(book: Book, cluster: ClusterRecord): Promise<void> {
  const { options, signal } = book;
  const brokers = cluster.slots.map((slot) => options.ports[slot] as BrokerPorts);
  for (const { clients, internal, controller } of brokers)
    for (const port of [clients, internal, controller]) await assertPortFree({ port, name: 'Kafka', variable: options.portVariable });
  const properties = cluster.configuration && options.configurations.propertiesOf(cluster.configuration);
  const kafka = await startKafka({ ...options, properties, signal, stateDir: folderOf(book, cluster), clusterId: cluster.kafkaId, brokers });
  book.running.set(cluster.arn, kafka);
  // Read again: its tags may have changed while it started.
  save(book, { ...get(book, cluster.arn), state: 'ACTIVE', stateInfo: undefined });
  void kafka.failed.then((failure) => fail(book, cluster.arn, failure));
}

async function erase(book: Book, cluster: ClusterRecord): Promise<void> {
  await book.running.get(cluster.arn)?.stop();
  book.running.delete(cluster.arn);
  await rm(folderOf(book, cluster), { recursive: true, force: true });
  // The record last: a platform that is killed before this finishes the deletion when it starts again.
  book.records.drop(idOf(cluster));
  book.clusters.delete(cluster.arn);
}

function fail(book: Book, arn: string, error: unknown): void {
  const cluster = book.clusters.get(arn);
  book.options.log(`cluster ${arn}: ${messageOf(error)}`);
  if (cluster && !book.signal.aborted) save(book, { ...cluster, state: 'FAILED', stateInfo: { code: 'BROKER_FAILED', message: messageOf(error) } });
}

function inBackground(book: Book, arn: string, task: Promise<void>): void {
  const guarded = task.catch((error: unknown) => fail(book, arn, error)).finally(() => book.work.delete(guarded));
  book.work.add(guarded);
}

function idOf({ arn }: ClusterRecord): string {
  return arn.slice(arn.lastIndexOf('/') + 1);
}

function folderOf({ options }: Book, cluster: ClusterRecord): string {
  return join(options.stateDir, 'kafka', idOf(cluster));
}

/** Places for a new cluster's brokers; a clear refusal when other clusters have them. */
function freeSlots(most: number, clusters: Map<string, ClusterRecord>, wanted: number): number[] {
  const taken = new Set([...clusters.values()].flatMap((cluster) => cluster.slots));
  const free = Array.from({ length: most }, (_, slot) => slot).filter((slot) => !taken.has(slot));
  if (free.length < wanted)
    throw mskError('BadRequestException', `The local platform has ports for ${most} brokers over all clusters, and ${taken.size} are in use: delete a cluster, or ask for fewer brokers.`, 'numberOfBrokerNodes');
  return free.slice(0, wanted);
}
