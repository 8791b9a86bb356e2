import type { Admin } from '@platformatic/kafka';
import { Failure } from '../errors.ts';
import type { OutgoingRecord, RecordHeader } from './record-batch.ts';
import { findTopics } from './topics.ts';

/** A restored record as SQL gives it: binary values in base64. */
type RestoredRow = { topic: string; partition: number; timestamp: bigint; record_key: string | null; payload: string | null; headers: { key: string; value: string | null }[] | null };

/** Restored records on their way into a topic: to their partition, with their key, headers and timestamp; `nameOf` says which topic for which. */
export async function* outgoingRecords(batches: AsyncIterable<readonly unknown[][]>, columns: readonly { name: string }[], nameOf: (topic: string) => string): AsyncGenerator<OutgoingRecord[], void, undefined> {
  const names = columns.map((column) => column.name);
  for await (const batch of batches) {
    yield batch.map((cells) => {
      const row = Object.fromEntries(names.map((name, at) => [name, cells[at]])) as RestoredRow;
      const headers = row.headers?.map(({ key, value }): RecordHeader => [key, bytes(value)]);
      return { topic: nameOf(row.topic), partition: row.partition, key: bytes(row.record_key), value: bytes(row.payload), timestamp: Number(row.timestamp), ...(headers === undefined ? {} : { headers }) };
    });
  }
}

export type RestoreTopic = { name: string; partitions: number; replicationFactor: number; minInsyncReplicas: number };

/**
 * Makes the topic for restored records where it is not there: old timestamps are kept as they are and do not make it forget them. One that
 * is there must be empty and have the partitions; a Failure says so. Returns what was made.
 */
export async function provideRestoreTopics(admin: Admin, wanted: readonly RestoreTopic[], endsOf: (topics: string[]) => Promise<{ topic: string; start: bigint; end: bigint }[]>): Promise<string[]> {
  const found = await findTopics(admin, wanted.map(({ name }) => name));
  const filled = (await endsOf(found.map(({ name }) => name))).find(({ start, end }) => end > start);
  if (filled !== undefined) throw refusal('RESTORE_TOPIC_NOT_EMPTY', `topic ${filled.topic} holds records already: restored ones would stand behind them, and twice after a second try`, 'Name an empty topic or one that does not exist yet.');
  await checkTimestamps(admin, found.map(({ name }) => name));
  const made: string[] = [];
  for (const { name, partitions, replicationFactor, minInsyncReplicas } of wanted) {
    const known = found.find((topic) => topic.name === name);
    if (known !== undefined && known.partitions < partitions) throw refusal('RESTORE_TOPIC_TOO_SMALL', `topic ${name} has ${known.partitions} partitions, and the records come from ${partitions}`, 'Name a topic that does not exist yet: it is made with as many as are needed.');
    if (known !== undefined) continue;
    const configs = { 'retention.ms': '-1', 'retention.bytes': '-1', 'cleanup.policy': 'delete', 'message.timestamp.type': 'CreateTime', 'min.insync.replicas': String(minInsyncReplicas) };
    await admin.createTopics({ topics: [name], partitions, replicas: replicationFactor, configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })) });
    made.push(name);
  }
  return made;
}

/** A topic whose broker puts its own time on each record would lose the records'. */
async function checkTimestamps(admin: Admin, topics: readonly string[]): Promise<void> {
  if (topics.length === 0) return;
  const { ConfigResourceTypes } = await import('@platformatic/kafka');
  const described = await admin.describeConfigs({ resources: topics.map((resourceName) => ({ resourceType: ConfigResourceTypes.TOPIC, resourceName, configurationKeys: ['message.timestamp.type'] })) });
  const stamped = described.find(({ configs }) => configs.some(({ value }) => value === 'LogAppendTime'));
  if (stamped === undefined) return;
  throw refusal('RESTORE_TOPIC_STAMPS', `topic ${stamped.resourceName} has message.timestamp.type=LogAppendTime: the broker would replace the records' timestamps`, 'Name a topic that does not exist yet, or set message.timestamp.type=CreateTime.');
}

function bytes(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text, 'base64');
}

function refusal(code: string, message: string, hint: string): Failure {
  return new Failure({ code, kind: 'usage', message, hint });
}
