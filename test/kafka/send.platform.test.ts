import { Consumer, type Message } from '@platformatic/kafka';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/errors.ts';
import { clientOptions, type KafkaAccess } from '../../src/kafka/connect.ts';
import { topicOffsets } from '../../src/kafka/offsets.ts';
import { createPartitioner } from '../../src/kafka/partitioner.ts';
import { sendRecords, type OutgoingRecord, type SendReport } from '../../src/kafka/send.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { createProject } from '../acceptance/project.ts';

const PARTITIONS = 4;
let access: KafkaAccess;
let admin: KafkaAccess;
let topics: string[];

beforeAll(async () => {
  topics = ['order', 'keys', 'large', 'interrupt', 'mixed'].map((name) => `send_${name}`);
  const project = createProject('send', { topics: topics.join(','), partitions: PARTITIONS });
  await project.json(['provision']);
  const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
  access = await clientAccess(config, 'pipeline');
  admin = await clientAccess(config, 'admin');
}, 300_000);

/** Everything in a topic, by partition and in order. */
async function readAll(topic: string): Promise<Message<Buffer, Buffer, Buffer, Buffer>[][]> {
  const offsets = await topicOffsets(access, [topic]);
  const expected = offsets.reduce((sum, { start, end }) => sum + Number(end - start), 0);
  const found: Message<Buffer, Buffer, Buffer, Buffer>[][] = Array.from({ length: PARTITIONS }, () => []);
  // A broker's first consumer group makes it create its offsets topic: the coordinator takes a while.
  const consumer = new Consumer({ ...(await clientOptions(access)), retries: 20, retryDelay: 500, groupId: `streamgauge-test-${topic}` });
  try {
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false, maxBytes: 4_000_000 });
    let read = 0;
    if (expected === 0) return found;
    for await (const message of stream) {
      found[message.partition]?.push(message);
      if ((read += 1) === expected) break;
    }
    return found;
  } finally {
    await consumer.close(true);
  }
}

async function expectAcknowledged(topic: string, report: SendReport): Promise<void> {
  const offsets = await topicOffsets(access, [topic]);
  const ends = offsets.filter(({ end }) => end > 0n).map(({ partition, end }) => ({ topic, partition, records: Number(end), firstOffset: 0n, lastOffset: end - 1n }));
  expect(report.partitions).toEqual(ends);
  expect(report.records).toBe(ends.reduce((sum, { records }) => sum + records, 0));
}

describe('sendRecords', () => {
  it('delivers each record once, spread evenly, in order within a partition', async () => {
    const topic = topics[0] as string;
    const count = 100_000;
    const records = Array.from({ length: count }, (_, i): OutgoingRecord => ({ topic, value: `record ${i} ${'x'.repeat(i % 50)}` }));
    const seen: number[] = [];
    const report = await sendRecords(access, records, { batchBytes: 65_536, onProgress: (n) => seen.push(n) });
    expect(report).toMatchObject({ records: count, interrupted: false });
    expect(report.error).toBeUndefined();
    await expectAcknowledged(topic, report);
    expect(seen.at(-1)).toBe(count);
    const shares = report.partitions.map((partition) => partition.records);
    expect(shares.length).toBe(PARTITIONS);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(1000);
    const numbers = (await readAll(topic)).map((messages) => messages.map((message) => Number(/^record (\d+)/.exec(String(message.value))?.[1])));
    expect(new Set(numbers.flat()).size).toBe(count);
    for (const inOrder of numbers) expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
  });

  it('keeps keys, headers, times, tombstones and empty values; keyed records go where Kafka puts them', async () => {
    const topic = topics[1] as string;
    const partition = createPartitioner(PARTITIONS);
    const records: OutgoingRecord[] = [
      { topic, key: '桥', value: Buffer.from([0, 255]), headers: { source: 'test', raw: Buffer.from([1]) }, timestamp: 1_700_000_000_123 },
      { topic, key: 'gone', value: null },
      { topic, key: Buffer.from('bytes'), value: '' },
      { topic, key: 'site-7', value: 'x' },
    ];
    const report = await sendRecords(access, records);
    expect(report.records).toBe(records.length);
    const found = (await readAll(topic)).flatMap((messages, at) => messages.map((message) => ({ at, message })));
    for (const record of records) {
      const there = found.find(({ message }) => Buffer.from(message.key).equals(Buffer.from(record.key as string)));
      expect(there?.at).toBe(partition(record.key, 0));
      expect(there?.message.value ?? null).toEqual(record.value === null ? null : Buffer.from(record.value));
    }
    const full = found.find(({ message }) => String(message.key) === '桥')?.message;
    expect(full?.timestamp).toBe(1_700_000_000_123n);
    expect([...(full?.headers ?? [])].map(([name, value]) => [String(name), Buffer.from(value)])).toEqual([['source', Buffer.from('test')], ['raw', Buffer.from([1])]]);
  });

  it('takes a record of 900 KB, and says of one too large for the broker that it is', async () => {
    const topic = topics[2] as string;
    const report = await sendRecords(access, [{ topic, value: 'a' }, { topic, value: 'x'.repeat(900_000) }, { topic, value: 'y'.repeat(1_100_000) }]);
    expect(report).toMatchObject({ records: 2, error: { code: 'RECORD_TOO_LARGE', exitCode: 2 } });
    expect((report.error as Error).message).toContain('a record of 1100');
    await expectAcknowledged(topic, report);
  });

  it('stops reading when it is interrupted, and what it read is acknowledged', async () => {
    const topic = topics[3] as string;
    const abort = new AbortController();
    let given = 0;
    async function* endless(): AsyncGenerator<OutgoingRecord[]> {
      for (;;) {
        const group = Array.from({ length: 100 }, () => ({ topic, value: `${(given += 1)}` }));
        yield group;
        if (given >= 5000) abort.abort();
        if (given >= 5000) await new Promise<never>(() => undefined);
      }
    }
    const report = await sendRecords(access, endless(), { signal: abort.signal });
    expect(report).toMatchObject({ records: given, interrupted: true });
    expect(report.error).toBeUndefined();
    await expectAcknowledged(topic, report);
  });

  it('acknowledges what came before a source that fails, and a topic that is missing stops it', async () => {
    const topic = topics[4] as string;
    const report = await sendRecords(admin, [{ topic, value: 'first' }, { topic: 'send_missing', value: 'second' }]);
    expect(report).toMatchObject({ records: 1, error: { code: 'TOPIC_NOT_FOUND' } });
    await expectAcknowledged(topic, report);
    // Whether a topic is there is none of the business of a user without rights on it.
    expect(await sendRecords(access, [{ topic: 'send_missing', value: 'x' }])).toMatchObject({ records: 0, error: { code: 'KAFKA_ACCESS_DENIED', exitCode: 3 } });
  });

  it.each<[string, () => KafkaAccess, string, number]>([
    ['a wrong password', () => ({ ...access, sasl: { mechanism: 'scram-sha-512', username: 'streamgauge-pipeline', password: new Secret('wrong') } }), 'KAFKA_AUTHENTICATION_FAILED', 3],
    ['a broker that is down', () => ({ ...access, brokers: ['127.0.0.1:9'] }), 'KAFKA_UNAVAILABLE', 4],
  ])('%s is named, and nothing is sent', async (_name, wrong, code, exitCode) => {
    await expect(sendRecords(wrong(), [{ topic: topics[0] as string, value: 'x' }])).rejects.toMatchObject({ code, exitCode });
  });
});
