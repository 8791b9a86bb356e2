import type { Base, Connection } from '@platformatic/kafka';
import { Failure } from '../errors.ts';
import { pause } from '../poll.ts';
import { clientOptions, type KafkaAccess } from './connect.ts';
import { guarded } from './connection.ts';
import { kafkaFailure } from './failure.ts';
import { fetchApi, type FetchApi } from './fetch.ts';
import type { BrokerBatch, BrokerRecord } from './record-decoding.ts';

export type { BrokerRecord };

/** Offsets of one partition, `to` exclusive. */
export type OffsetRange = { topic: string; partition: number; from: bigint; to: bigint };

export type Reader = {
  /** Every record of the range in the order of its offsets, as many at once as one answer holds; gaps are passed over. */
  read(range: OffsetRange): AsyncGenerator<BrokerRecord[], void, undefined>;
  close(): Promise<void>;
};

const FETCH_BYTES = 4_194_304;
const MAX_WAIT_MS = 500;
const ATTEMPTS = 8;
/** What Spark's source uses where nothing else is set: the same records that `ingest` gets. */
const READ_UNCOMMITTED = 0;

/**
 * Opens a reader that needs no consumer group, and so leaves no trace at the brokers: it asks each partition's leader for its offsets.
 * It reads uncommitted, as `ingest` does; the markers of transactions are no records, here as there.
 */
export async function openReader(access: KafkaAccess, signal?: AbortSignal): Promise<Reader> {
  const kafka = await import('@platformatic/kafka');
  const client = guarded(new kafka.Base(await clientOptions(access)));
  const leaders = new Map<string, Connection>();
  return {
    read: (range) => readRange({ fetch: fetchApi(kafka), client, leaders, signal }, range),
    close: async () => void (await client.close().catch(() => undefined)),
  };
}

type Reading = { fetch: FetchApi; client: Base; leaders: Map<string, Connection>; signal: AbortSignal | undefined };

async function* readRange(reading: Reading, range: OffsetRange): AsyncGenerator<BrokerRecord[], void, undefined> {
  let next = range.from;
  // The broker is asked for what comes next while what came is being worked on.
  let ahead = next < range.to ? fetchAfter(reading, range, next) : undefined;
  try {
    while (ahead !== undefined) {
      const batches = await ahead;
      ahead = undefined;
      const from = next;
      next = batches.at(-1)?.end ?? next;
      if (next < range.to) ahead = fetchAfter(reading, range, next);
      const records = batches.flatMap((batch) => within(batch, from, range.to));
      if (records.length > 0) yield records;
    }
  } finally {
    await ahead?.catch(() => undefined);
  }
}

/** A batch begins where it was written, not where it was asked for. */
function within({ records, end }: BrokerBatch, from: bigint, to: bigint): BrokerRecord[] {
  const [first] = records;
  const isWhole = first === undefined || (first.offset >= from && end <= to);
  return isWhole ? records : records.filter(({ offset }) => offset >= from && offset < to);
}

/** The batches at and after `next`; waits and asks again while a leader moves. */
async function fetchAfter(reading: Reading, range: OffsetRange, next: bigint): Promise<BrokerBatch[]> {
  const place = `${range.topic}/${range.partition}`;
  for (let n = 1; ; n += 1) {
    reading.signal?.throwIfAborted();
    try {
      const batches = await fetchOnce(reading, range, next, n > 1);
      if (batches.length > 0) return batches;
      throw new Failure({ code: 'KAFKA_UNAVAILABLE', kind: 'remote', retriable: true, message: `Kafka: ${place} gives nothing at offset ${next}, and ends at ${range.to}` });
    } catch (error) {
      const failure = kafkaFailure(error, `reading ${place} at offset ${next}`);
      if (!failure.retriable || n >= ATTEMPTS) throw failure;
      reading.leaders.delete(place);
      await pause(Math.min(100 * 2 ** (n - 1), 2000), reading.signal);
    }
  }
}

async function fetchOnce({ fetch, client, leaders }: Reading, { topic, partition }: OffsetRange, next: bigint, isStale: boolean): Promise<BrokerBatch[]> {
  const place = `${topic}/${partition}`;
  let leader = leaders.get(place);
  if (!leader?.isConnected()) {
    leader = await leaderOf(client, topic, partition, isStale);
    leaders.set(place, leader);
  }
  const asked = { partition, currentLeaderEpoch: -1, fetchOffset: next, lastFetchedEpoch: -1, partitionMaxBytes: FETCH_BYTES };
  return fetch(leader, MAX_WAIT_MS, 1, FETCH_BYTES, READ_UNCOMMITTED, 0, -1, [{ topicId: topic, partitions: [asked] }], [], '');
}

async function leaderOf(client: Base, topic: string, partition: number, isStale: boolean): Promise<Connection> {
  const metadata = await client.metadata({ topics: [topic], forceUpdate: isStale });
  const leader = metadata.topics.get(topic)?.partitions[partition]?.leader ?? -1;
  const connection = leader < 0 ? undefined : (await client.connectToBrokers([leader])).get(leader);
  if (connection !== undefined) return connection;
  throw new Failure({ code: 'KAFKA_UNAVAILABLE', kind: 'remote', retriable: true, message: `Kafka: ${topic}/${partition} has no leader at the moment` });
}
