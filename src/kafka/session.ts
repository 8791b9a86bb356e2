import type { Base, Connection } from '@platformatic/kafka';
import { Failure } from '../errors.ts';
import { pause } from '../poll.ts';
import { clientOptions, type KafkaAccess } from './connect.ts';
import { anyConnection, guarded } from './connection.ts';
import { kafkaFailure, saysTopicMissing, topicMissing } from './failure.ts';

/** A batch as it goes over the wire: sealed, and never changed again, so that sending it twice is the same as sending it once. */
export type SealedBatch = { topic: string; partition: number; bytes: Buffer; records: number };

/** An idempotent producer's dealings with the cluster; every error is a Failure. */
export type Session = {
  producerId: bigint;
  producerEpoch: number;
  crc32c(bytes: Uint8Array): number;
  /** How many partitions a topic has; Failure TOPIC_NOT_FOUND where it does not exist. */
  partitionCount(topic: string): Promise<number>;
  /** The topic's max.message.bytes, or Kafka's default for it where the user may not read the topic's configuration. */
  largestBatchBytes(topic: string): Promise<number>;
  /** Sends until the leader and its followers have the batch (acks=all); resolves to its first offset. At most one at a time for each partition. */
  deliver(batch: SealedBatch, patience: Patience): Promise<bigint>;
  close(): Promise<void>;
};

export type Patience = { deadlineMs(): number; onRetry?(reason: Failure): void };

type Client = typeof import('@platformatic/kafka');

const REQUEST_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_MESSAGE_BYTES = 1_048_588;

/** Connects, authenticates and gets a producer id; a broker that is down or refuses is a Failure after a few attempts. */
export async function openSession(access: KafkaAccess): Promise<Session> {
  const kafka = await import('@platformatic/kafka');
  const client = guarded(new kafka.Base(await clientOptions(access)));
  try {
    const { producerId, producerEpoch } = await attempts('connecting', 3, async () => await kafka.initProducerIdV4.api.async(await anyConnection(client), null, 0, -1n, -1));
    return {
      producerId,
      producerEpoch,
      crc32c: kafka.crc32c,
      partitionCount: async (topic) => await partitionCount(client, topic),
      largestBatchBytes: async (topic) => await largestBatchBytes(kafka, client, topic),
      deliver: deliverer(kafka, client),
      close: async () => await client.close(),
    };
  } catch (error) {
    await client.close().catch(() => undefined);
    throw kafkaFailure(error, `connecting to ${access.brokers.join(', ')}`);
  }
}

async function attempts<T>(doing: string, times: number, attempt: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n += 1) {
    try {
      return await attempt();
    } catch (error) {
      const failure = kafkaFailure(error, doing);
      if (!failure.retriable || n >= times) throw error;
      await pause(200 * n);
    }
  }
}

async function partitionCount(client: Base, topic: string): Promise<number> {
  try {
    const metadata = await attempts(`looking up the topic ${topic}`, 5, async () => await client.metadata({ topics: [topic], forceUpdate: true }));
    const count = metadata.topics.get(topic)?.partitionsCount ?? 0;
    if (count === 0) throw topicMissing(topic);
    return count;
  } catch (error) {
    // The client answers an unknown topic with a plain "user" error, the only one that `metadata` has.
    const isMissing = saysTopicMissing(error) || (error as { code?: unknown }).code === 'PLT_KFK_USER';
    throw isMissing ? topicMissing(topic, error) : kafkaFailure(error, `looking up the topic ${topic}`);
  }
}

async function largestBatchBytes(kafka: Client, client: Base, topic: string): Promise<number> {
  const resource = { resourceType: kafka.ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: ['max.message.bytes'] };
  try {
    const { results } = await kafka.describeConfigsV4.api.async(await anyConnection(client), [resource], false, false);
    return Number(results[0]?.configs[0]?.value ?? DEFAULT_MAX_MESSAGE_BYTES);
  } catch (error) {
    // Producing must not need the right to read a topic's configuration.
    if (kafkaFailure(error, `reading the configuration of ${topic}`).code === 'KAFKA_ACCESS_DENIED') return DEFAULT_MAX_MESSAGE_BYTES;
    throw error;
  }
}

function deliverer(kafka: Client, client: Base): Session['deliver'] {
  const leaders = new Map<string, Connection>();
  return async (batch, patience) => {
    const place = `${batch.topic}/${batch.partition}`;
    for (let n = 1; ; n += 1) {
      try {
        let leader = leaders.get(place);
        if (!leader?.isConnected()) {
          leader = await leaderOf(client, batch, n > 1);
          leaders.set(place, leader);
        }
        return await produce(kafka, leader, batch);
      } catch (error) {
        const failure = kafkaFailure(error, `sending ${batch.records === 1 ? 'a record' : `${batch.records} records`} of ${batch.bytes.length} bytes to ${place}`);
        if (!failure.retriable || performance.now() >= patience.deadlineMs()) throw failure;
        patience.onRetry?.(failure);
        leaders.delete(place);
        await pause(Math.min(100 * 2 ** (n - 1), 2000));
      }
    }
  };
}

async function leaderOf(client: Base, { topic, partition }: SealedBatch, isStale: boolean): Promise<Connection> {
  const metadata = await client.metadata({ topics: [topic], forceUpdate: isStale });
  const leader = metadata.topics.get(topic)?.partitions[partition]?.leader ?? -1;
  const connection = leader < 0 ? undefined : (await client.connectToBrokers([leader])).get(leader);
  if (connection !== undefined) return connection;
  throw new Failure({ code: 'KAFKA_UNAVAILABLE', kind: 'remote', retriable: true, message: `Kafka: ${topic}/${partition} has no leader at the moment` });
}

/** Produce, version 9: https://kafka.apache.org/protocol#The_Messages_Produce - one topic, one partition, one batch. */
async function produce(kafka: Client, connection: Connection, { topic, partition, bytes }: SealedBatch): Promise<bigint> {
  const payload = (): InstanceType<Client['Writer']> =>
    kafka.Writer.create()
      .appendString(null)
      .appendInt16(kafka.ProduceAcks.ALL)
      .appendInt32(REQUEST_TIMEOUT_MS)
      .appendUnsignedVarInt(2)
      .appendString(topic)
      .appendUnsignedVarInt(2)
      .appendInt32(partition)
      .appendUnsignedVarInt(bytes.length + 1)
      .append(bytes)
      .appendTaggedFields()
      .appendTaggedFields()
      .appendTaggedFields();
  const { promise, resolve, reject } = Promise.withResolvers<bigint>();
  const { key, version } = kafka.produceV9.api;
  connection.send(key, version, payload, kafka.produceV9.parseResponse, true, true, (error, response) => {
    const offset = response?.responses[0]?.partitionResponses[0]?.baseOffset;
    if (error) reject(error);
    else if (offset === undefined || offset < 0n) reject(new Failure({ code: 'KAFKA_REFUSED', kind: 'remote', message: `Kafka acknowledged ${topic}/${partition} without an offset` }));
    else resolve(offset);
  });
  return await promise;
}
