import { Failure } from '../errors.ts';
import type { KafkaAccess } from './connect.ts';
import { createPartitioner, type Partitioner } from './partitioner.ts';
import { appendRecord, BATCH_HEADER_BYTES, newBatch, nextSequence, sealBatch, type OutgoingRecord, type RecordBatch } from './record-batch.ts';
import { openSession, type SealedBatch, type Session } from './session.ts';

export type { OutgoingRecord };

/** Records as they are there, or in groups as they arrive: one wait for a group, none for a record. */
export type RecordSource = Iterable<OutgoingRecord> | AsyncIterable<Iterable<OutgoingRecord>>;

export type SendOptions = {
  /** Aborted: nothing more is read; what was read is sent and acknowledged, for at most `flushMs`. */
  signal?: AbortSignal;
  onProgress?(records: number, bytes: number): void;
  /** A broker did not take a batch yet, and is asked again. */
  onRetry?(reason: Failure): void;
  /** A batch is sent when it is this full, or when its partition has nothing else to do. */
  batchBytes?: number;
  /** Bytes that wait for an acknowledgement before reading stops for a while. */
  maxInFlightBytes?: number;
  deliveryDeadlineMs?: number;
  flushMs?: number;
};

/** What one partition acknowledged; the offsets are its first and last record's, other producers' records may lie between. */
export type PartitionReport = { topic: string; partition: number; records: number; firstOffset: bigint; lastOffset: bigint };

export type SendReport = {
  records: number;
  bytes: number;
  partitions: PartitionReport[];
  interrupted: boolean;
  /** Why it ended early: sending failed, or reading did. Everything in the counters above is acknowledged all the same. */
  error?: unknown;
};

type Lane = {
  topic: string;
  partition: number;
  open: RecordBatch | undefined;
  queue: SealedBatch[];
  isSending: boolean;
  sequence: number;
  report: PartitionReport;
};

type TopicLanes = { lanes: Lane[]; partitioner: Partitioner; batchBytes: number };

type Sending = {
  session: Session;
  topics: Map<string, TopicLanes>;
  spare: Buffer[];
  batchBytes: number;
  inFlightBytes: number;
  maxInFlightBytes: number;
  failure: unknown;
  deadlineMs: number;
  /** Called whenever a batch was acknowledged or given up. */
  wake(): void;
  options: SendOptions;
  report: SendReport;
};

const SMALLEST_BATCH_BYTES = 16_384;
/** All open batches of a topic together: many partitions get smaller batches, not more memory. */
const OPEN_BYTES = 33_554_432;

/**
 * Sends every record with acks=all and without duplicates; resolves when the last one is acknowledged or will never be.
 * Throws a Failure only where nothing was sent (broker down, credentials refused); later errors stand in the report.
 */
export async function sendRecords(access: KafkaAccess, source: RecordSource, options: SendOptions = {}): Promise<SendReport> {
  const session = await openSession(access);
  const sending = startSending(session, options);
  try {
    await readAll(sending, source);
  } catch (error) {
    // What was read before a source failed still goes out.
    if (!options.signal?.aborted) sending.report.error = error;
  }
  if (options.signal?.aborted) sending.report.interrupted = true;
  await drain(sending);
  await session.close().catch(() => undefined);
  sending.report.error = sending.failure ?? sending.report.error;
  for (const { lanes } of sending.topics.values()) {
    sending.report.partitions.push(...lanes.map((lane) => lane.report).filter((report) => report.records > 0));
  }
  return sending.report;
}

function startSending(session: Session, options: SendOptions): Sending {
  return {
    session,
    topics: new Map(),
    spare: [],
    batchBytes: options.batchBytes ?? 262_144,
    inFlightBytes: 0,
    maxInFlightBytes: options.maxInFlightBytes ?? 8_388_608,
    failure: undefined,
    deadlineMs: Infinity,
    wake: () => undefined,
    options,
    report: { records: 0, bytes: 0, partitions: [], interrupted: false },
  };
}

async function readAll(sending: Sending, source: RecordSource): Promise<void> {
  const { signal } = sending.options;
  if (!(Symbol.asyncIterator in source)) return await takeGroup(sending, source);
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const abort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  const groups = source[Symbol.asyncIterator]();
  try {
    signal?.throwIfAborted();
    for (;;) {
      const next = await Promise.race([groups.next(), aborted.promise]);
      if (next.done) return;
      await takeGroup(sending, next.value);
      sendIdle(sending);
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    // Not awaited: a source that waits for input would never answer.
    void groups.return?.()?.catch(() => undefined);
  }
}

async function takeGroup(sending: Sending, group: Iterable<OutgoingRecord>): Promise<void> {
  const { signal } = sending.options;
  let now = Date.now();
  for (const record of group) {
    const topic = sending.topics.get(record.topic) ?? (await openTopic(sending, record.topic));
    const partition = record.partition ?? topic.partitioner(record.key, record.value?.length ?? 0);
    const lane = topic.lanes[partition];
    if (lane === undefined) throw new Failure({ code: 'PARTITION_NOT_FOUND', kind: 'usage', message: `topic ${record.topic} has ${topic.lanes.length} partitions, and a record is for partition ${partition}`, hint: 'Give the topic as many partitions as the records come from.' });
    lane.open ??= openBatch(sending);
    if (appendRecord(lane.open, record, now, topic.batchBytes)) continue;
    seal(sending, lane);
    lane.open = openBatch(sending);
    appendRecord(lane.open, record, now, topic.batchBytes);
    await room(sending);
    if (signal?.aborted) return;
    now = Date.now();
  }
}

async function openTopic(sending: Sending, topic: string): Promise<TopicLanes> {
  const count = await sending.session.partitionCount(topic);
  const largest = await sending.session.largestBatchBytes(topic);
  const lanes = Array.from({ length: count }, (_, partition): Lane => {
    const report = { topic, partition, records: 0, firstOffset: -1n, lastOffset: -1n };
    return { topic, partition, open: undefined, queue: [], isSending: false, sequence: 0, report };
  });
  const batchBytes = Math.min(sending.batchBytes, largest, Math.max(SMALLEST_BATCH_BYTES, Math.floor(OPEN_BYTES / count)));
  const opened = { lanes, partitioner: createPartitioner(count), batchBytes };
  sending.topics.set(topic, opened);
  return opened;
}

function openBatch(sending: Sending): RecordBatch {
  return newBatch(sending.spare.pop() ?? Buffer.allocUnsafeSlow(SMALLEST_BATCH_BYTES));
}

function seal(sending: Sending, lane: Lane): void {
  const { open } = lane;
  if (open === undefined) return;
  const { producerId, producerEpoch, crc32c } = sending.session;
  const bytes = sealBatch(open, { producerId, producerEpoch, sequence: lane.sequence }, crc32c);
  lane.sequence = nextSequence(lane.sequence, open.records);
  lane.open = undefined;
  lane.queue.push({ topic: lane.topic, partition: lane.partition, bytes, records: open.records });
  sending.inFlightBytes += bytes.length;
  if (!lane.isSending) void sendQueue(sending, lane);
}

/** Sends a partition's batches one after the other: the broker sees no gap in their sequence, whatever has to be repeated. */
async function sendQueue(sending: Sending, lane: Lane): Promise<void> {
  lane.isSending = true;
  for (let batch = lane.queue.shift(); batch !== undefined; batch = lane.queue.shift()) {
    if (sending.failure === undefined) await sendBatch(sending, lane, batch);
    sending.inFlightBytes -= batch.bytes.length;
    if (lane.queue.length === 0 && sending.failure === undefined) seal(sending, lane);
  }
  lane.isSending = false;
  sending.wake();
}

async function sendBatch(sending: Sending, lane: Lane, batch: SealedBatch): Promise<void> {
  const startedAt = performance.now();
  const deadlineMs = (): number => Math.min(startedAt + (sending.options.deliveryDeadlineMs ?? 120_000), sending.deadlineMs);
  try {
    const firstOffset = await sending.session.deliver(batch, { deadlineMs, onRetry: sending.options.onRetry });
    const { report } = lane;
    if (report.records === 0) report.firstOffset = firstOffset;
    report.lastOffset = firstOffset + BigInt(batch.records) - 1n;
    report.records += batch.records;
    sending.report.records += batch.records;
    sending.report.bytes += batch.bytes.length - BATCH_HEADER_BYTES;
    if (sending.spare.length < 64 && batch.bytes.buffer.byteLength <= sending.batchBytes) sending.spare.push(Buffer.from(batch.bytes.buffer as ArrayBuffer));
    sending.options.onProgress?.(sending.report.records, sending.report.bytes);
  } catch (error) {
    sending.failure ??= error;
  } finally {
    sending.wake();
  }
}

/** Seals what is open in partitions that have nothing else to send: batches grow by themselves when the broker is the slower one. */
function sendIdle(sending: Sending): void {
  for (const { lanes } of sending.topics.values()) {
    for (const lane of lanes) if (!lane.isSending) seal(sending, lane);
  }
}

/** Lets acknowledgements in, and waits while too much is unacknowledged; throws what went wrong meanwhile. */
async function room(sending: Sending): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  while (sending.inFlightBytes > sending.maxInFlightBytes && sending.failure === undefined) await awoken(sending);
  if (sending.failure !== undefined) throw sending.failure;
}

async function awoken(sending: Sending): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  sending.wake = resolve;
  await promise;
}

async function drain(sending: Sending): Promise<void> {
  if (sending.report.interrupted) sending.deadlineMs = performance.now() + (sending.options.flushMs ?? 10_000);
  const lanes = [...sending.topics.values()].flatMap((topic) => topic.lanes);
  // After a failure of sending nothing more goes out; after one of reading, what was read before it does.
  sendIdle(sending);
  while (lanes.some((lane) => lane.isSending)) await awoken(sending);
}
