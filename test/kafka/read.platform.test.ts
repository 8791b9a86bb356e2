import { CompressionTypes, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { withAdmin, type KafkaAccess } from '../../src/kafka/connect.ts';
import { topicOffsets } from '../../src/kafka/offsets.ts';
import { openReader, type BrokerRecord, type Reader } from '../../src/kafka/read.ts';
import { provideRestoreTopics } from '../../src/kafka/restored.ts';
import { applyTopicStep, deleteTopics, findTopics } from '../../src/kafka/topics.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { createProject } from '../acceptance/project.ts';

const [PLAIN, PACKED, TRANSACTIONS] = ['read_plain', 'read_packed', 'read_transactions'];

// A reader without a group: every record once, in order, whatever lies between them.
describe('openReader', () => {
  let kafka: Kafka;
  let access: KafkaAccess;
  let adminAccess: KafkaAccess;
  let reader: Reader;

  beforeAll(async () => {
    const project = createProject('read', { topics: [PLAIN, PACKED, TRANSACTIONS].join(','), partitions: 1 });
    await project.json(['provision']);
    const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    access = await clientAccess(config, 'pipeline');
    adminAccess = await clientAccess(config, 'admin');
    const { brokers, sasl } = adminAccess;
    if (sasl.mechanism !== 'scram-sha-512') throw new Error('the platform speaks SCRAM');
    kafka = new Kafka({ brokers: [...brokers], ssl: true, sasl: { mechanism: 'scram-sha-512', username: sasl.username, password: sasl.password.reveal() }, logLevel: logLevel.NOTHING });
    reader = await openReader(access);
  }, 300_000);
  afterAll(async () => await reader?.close());

  const read = async (topic: string, from = 0n, to?: bigint): Promise<BrokerRecord[]> => {
    const [offsets] = await topicOffsets(access, [topic]);
    return (await Array.fromAsync(reader.read({ topic, partition: 0, from, to: to ?? offsets?.end ?? 0n }))).flat();
  };

  it('gives what was sent, and any part of it', async () => {
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: PLAIN as string, messages: [{ key: 'k', value: 'one', headers: { h: 'x' }, timestamp: '1700000000123' }, { value: null }, { value: '' }] });
    for (let batch = 0; batch < 5; batch += 1) await producer.send({ topic: PLAIN as string, messages: Array.from({ length: 200 }, (_, at) => ({ value: `${batch}/${at} ${'x'.repeat(4000)}` })) });
    await producer.disconnect();
    const all = await read(PLAIN as string);
    expect(all.map(({ offset }) => offset)).toEqual(Array.from({ length: 1003 }, (_, at) => BigInt(at)));
    expect(all[0]).toMatchObject({ timestampMillis: 1_700_000_000_123, key: Buffer.from('k'), value: Buffer.from('one'), headers: [[Buffer.from('h'), Buffer.from('x')]] });
    expect([all[1]?.value, all[2]?.value]).toEqual([null, Buffer.alloc(0)]);
    expect((await read(PLAIN as string, 300n, 803n)).map(({ offset }) => offset)).toEqual(Array.from({ length: 503 }, (_, at) => BigInt(300 + at)));
    expect(await read(PLAIN as string, 5n, 5n)).toEqual([]);
  });

  it('unpacks batches', async () => {
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: PACKED as string, compression: CompressionTypes.GZIP, messages: Array.from({ length: 50 }, (_, at) => ({ value: `packed ${at}` })) });
    await producer.disconnect();
    expect((await read(PACKED as string)).map(({ value }) => value?.toString())).toEqual(Array.from({ length: 50 }, (_, at) => `packed ${at}`));
  });

  it('reads uncommitted, as Spark does, and passes over the markers of transactions', async () => {
    const producer = kafka.producer({ transactionalId: `read-${Date.now()}`, maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (const [name, end] of [['kept', 'commit'], ['dropped', 'abort'], ['kept again', 'commit']] as const) {
      const transaction = await producer.transaction();
      await transaction.send({ topic: TRANSACTIONS as string, messages: [{ value: `${name} 1` }, { value: `${name} 2` }] });
      await transaction[end]();
    }
    await producer.disconnect();
    const [offsets] = await topicOffsets(access, [TRANSACTIONS as string]);
    expect(offsets?.end).toBe(9n);
    expect((await read(TRANSACTIONS as string)).map(({ offset, value }) => `${offset} ${value?.toString()}`)).toEqual(['0 kept 1', '1 kept 2', '3 dropped 1', '4 dropped 2', '6 kept again 1', '7 kept again 2']);
  });

  it('restored records go into no topic that holds records, and into none that puts its own time on them', async () => {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'read_stamped', numPartitions: 1, configEntries: [{ name: 'message.timestamp.type', value: 'LogAppendTime' }] }] });
    await admin.disconnect();
    const provide = (name: string): Promise<string[]> =>
      withAdmin(adminAccess, 'providing topics', (client) => provideRestoreTopics(client, [{ name, partitions: 1, replicationFactor: 1, minInsyncReplicas: 1 }], (topics) => topicOffsets(adminAccess, topics)));
    await expect(provide(PACKED as string)).rejects.toMatchObject({ code: 'RESTORE_TOPIC_NOT_EMPTY', exitCode: 2, message: expect.stringContaining('holds records already') });
    await expect(provide('read_stamped')).rejects.toMatchObject({ code: 'RESTORE_TOPIC_STAMPS', exitCode: 2, message: expect.stringContaining('LogAppendTime') });
  });

  it('names the partition that it cannot read', async () => {
    await expect(Array.fromAsync(reader.read({ topic: 'read_nothing_there', partition: 0, from: 0n, to: 1n }))).rejects.toMatchObject({ code: expect.stringMatching(/^KAFKA_|TOPIC_/), message: expect.stringContaining('read_nothing_there/0') });
  });

  it('a topic that somebody else makes or grows at the same moment stays as it is, whoever comes second', async () => {
    const name = `read_twice_${Date.now()}`;
    const made = { do: 'create topic', name, partitions: 1, replicationFactor: 1, configs: { 'min.insync.replicas': '1', 'retention.ms': '3600000' } } as const;
    await withAdmin(adminAccess, 'making a topic twice', async (admin) => {
      await applyTopicStep(admin, made);
      await applyTopicStep(admin, { ...made, partitions: 2 });
      expect(await findTopics(admin, [name])).toMatchObject([{ partitions: 1 }]);
      for (let twice = 0; twice < 2; twice += 1) await applyTopicStep(admin, { do: 'grow topic', name, from: 1, to: 2 });
      expect(await findTopics(admin, [name])).toMatchObject([{ partitions: 2 }]);
      await deleteTopics(admin, [name]);
    });
  });
});
