import { rawRows, shardRows, type Extent, type Proof } from '../databricks/proof.ts';
import type { Row } from '../databricks/sql.ts';
import type { PartitionOffsets } from '../kafka/offsets.ts';
import type { OffsetRange, Reader } from '../kafka/read.ts';
import { shardDigests, type Rules, type ShardDigest } from '../traffic/digest.ts';
import { createMerkleTree, type MerkleTree } from '../traffic/merkle.ts';
import { ahead, byPartition, type ByPartition, type Place } from './ahead.ts';
import { note, type Differences } from './difference.ts';
import type { Pair } from './pairs.ts';
import { firstDifference } from './rows.ts';

/** What one partition's records were found to be. */
export type PartitionProof = {
  topic: string;
  partition: number;
  /** Offsets that the broker held: the first still kept, and its end. */
  broker: { start: bigint; end: bigint };
  /** Counted by reading, below `raw`'s end. */
  brokerRecords: bigint;
  /** Counted by reading, beyond `raw`'s end: they wait for the next run. */
  waiting: bigint;
  /** Rows of `raw`, and how many distinct offsets they are. */
  raw: bigint;
  distinct: bigint;
  good: bigint;
  quarantined: bigint;
  /** Rows that the broker no longer has (retention, compaction): proved from the ledger of shards alone. */
  fromShardsOnly: bigint;
  /** Records that name a JSON field twice, and that Spark read another way: kept and hashed as all others, right either way. */
  ambiguous: bigint;
  /** Records that stay in quarantine although a later rule would accept them: they were replayed, and the replays count. */
  replayed: bigint;
  offsets: { first: bigint; next: bigint };
  shards: { sealed: number; open: number; merkleRoot: string | null };
};

export type Side = { proof: Proof; reader: Reader; rules: Rules };

type Digest = ShardDigest & Place;

/** So many digests of shards are held while Spark is waited for. */
const AHEAD = 20_000;

type Walk = { side: Side; extent: Extent; start: bigint; tree: MerkleTree; found: PartitionProof; records: Differences; shards: Differences; unledgered: bigint | null };

/** Asks once for the shards of these extents, or for all there are; they are to be taken in the order of topic and partition. */
export function openShardRows(proof: Proof, extents?: readonly Extent[]): ByPartition<Row> {
  return byPartition(shardRows(proof, extents?.filter(({ first, next }) => first < next)), ({ topic, partition }) => ({ topic: String(topic), partition: Number(partition) }));
}

/** What the brokers held when a proof of everything began. */
export type Early = { offsets: Promise<PartitionOffsets[]>; digests: ByPartition<Digest> };

/** Reads the whole shards that the brokers hold while Spark is still asked what there is to compare them with; `offsets` in the order of topic and partition. */
export function readEarly(reader: Reader, shardSize: number, rules: Rules, offsets: Promise<PartitionOffsets[]>): Early {
  async function* all(): AsyncGenerator<Digest, void, undefined> {
    for (const { topic, partition, start, end } of await offsets) yield* digestsOf(reader, { topic, partition, from: start, to: end - (end % BigInt(shardSize)) }, shardSize, rules);
  }
  // Whoever needs them gets the error.
  offsets.catch(() => undefined);
  return { offsets, digests: byPartition(ahead(all(), AHEAD), (digest) => digest) };
}

/** Reads these partitions at the broker, one after the other in this order, and goes on while Spark works on its shards; begins with what was read early. */
export function openDigests({ reader, proof, rules }: Side, pairs: readonly Pair[], early?: Early): ByPartition<Digest> {
  async function* all(): AsyncGenerator<Digest, void, undefined> {
    for (const pair of pairs) {
      const { topic, partition } = pair.extent;
      const to = pair.extent.next < pair.broker.end ? pair.extent.next : pair.broker.end;
      let from = startOf(pair);
      for await (const digest of early?.digests.of(pair.extent) ?? []) {
        // A shard that `raw` has not taken in to its end is read again, as far as `raw` has it.
        if (digest.last >= to) continue;
        yield digest;
        from = (digest.shard + 1n) * BigInt(proof.shardSize);
      }
      yield* digestsOf(reader, { topic, partition, from, to }, proof.shardSize, rules);
    }
  }
  return byPartition(ahead(all(), AHEAD), (digest) => digest);
}

async function* digestsOf(reader: Reader, range: OffsetRange, shardSize: number, rules: Rules): AsyncGenerator<Digest, void, undefined> {
  if (range.from >= range.to) return;
  const { topic, partition } = range;
  for await (const digest of shardDigests(reader.read(range), shardSize, rules)) yield { topic, partition, ...digest };
}

/** The first offset that both sides can be asked for. */
function startOf({ extent, broker }: Pair): bigint {
  return broker.start > extent.first ? broker.start : extent.first;
}

/** One partition: each shard of `raw` against what the broker holds and against the ledger; both are read once, in the order of offsets. */
export async function provePartition(side: Side, { extent, broker }: Pair, { shards, digests }: { shards: ByPartition<Row>; digests: ByPartition<Digest> }, differences: { records: Differences; shards: Differences }): Promise<PartitionProof> {
  const { topic, partition } = extent;
  const found: PartitionProof = {
    topic, partition, broker: { start: broker.start, end: broker.end }, brokerRecords: 0n, waiting: 0n, raw: 0n, distinct: 0n, good: 0n, quarantined: 0n, fromShardsOnly: 0n, ambiguous: 0n, replayed: 0n,
    offsets: { first: extent.first, next: extent.next }, shards: { sealed: 0, open: 0, merkleRoot: null },
  };
  const tree = createMerkleTree();
  const walk: Walk = { side, extent, start: startOf({ extent, broker }), tree, found, ...differences, unledgered: null };
  await merge(walk, shards.of(extent), digests.of(extent));
  found.shards.merkleRoot = tree.root();
  found.quarantined = found.raw - found.good;
  return found;
}

async function merge(walk: Walk, rows: AsyncGenerator<Row, void, void>, digests: AsyncGenerator<ShardDigest, void, void>): Promise<void> {
  let [row, digest] = await Promise.all([rows.next(), digests.next()]);
  while (!row.done || !digest.done) {
    const inRaw = row.done ? undefined : row.value;
    const atBroker = digest.done ? undefined : digest.value;
    const shard = inRaw === undefined ? (atBroker as ShardDigest).shard : (inRaw.shard as bigint);
    const isBoth = atBroker?.shard === shard;
    const isBrokerFirst = atBroker !== undefined && atBroker.shard < shard;
    await compare(walk, isBrokerFirst ? undefined : inRaw, isBoth || isBrokerFirst ? atBroker : undefined);
    if (!isBrokerFirst) row = await rows.next();
    if (isBoth || isBrokerFirst) digest = await digests.next();
  }
}

async function compare(walk: Walk, row: Row | undefined, digest: ShardDigest | undefined): Promise<void> {
  const { found, records } = walk;
  const shard = row === undefined ? (digest as ShardDigest).shard : (row.shard as bigint);
  const inRaw = big(row?.records);
  found.raw += inRaw;
  found.distinct += big(row?.distinct_records);
  found.good += big(row?.good);
  found.brokerRecords += BigInt(digest?.records ?? 0);
  const isSame = digest !== undefined && row?.payloads === digest.payloads && row.rows === digest.rows;
  // The record by record look is for the first difference only, and for what the broker has dropped in between.
  let isExplained = isSame;
  if (!isSame && digest !== undefined) {
    const looked = records.first === null ? await firstDifference(walk.side, sliceOf(walk, shard)) : undefined;
    found.fromShardsOnly += inRaw > BigInt(digest.records) ? inRaw - BigInt(digest.records) : 0n;
    found.ambiguous += looked?.ambiguous ?? 0n;
    found.replayed += looked?.replayed ?? 0n;
    if (looked === undefined || looked.difference !== null) note(records, looked?.difference ?? { stage: 'records', message: '', topic: walk.extent.topic });
    isExplained = looked?.difference === null;
  } else if (!isSame) {
    found.fromShardsOnly += inRaw;
    isExplained = true;
  }
  if (row !== undefined) await checkLedger(walk, row, isExplained);
}

/** The offsets of a shard that both sides can still be asked for. */
function sliceOf({ side, extent, start }: Walk, shard: bigint): Extent {
  const size = BigInt(side.proof.shardSize);
  const [from, to] = [shard * size, (shard + 1n) * size];
  return { topic: extent.topic, partition: extent.partition, first: from > start ? from : start, next: to < extent.next ? to : extent.next };
}

async function checkLedger(walk: Walk, row: Row, isRawRight: boolean): Promise<void> {
  const { extent: { topic, partition }, found, tree } = walk;
  const shard = row.shard as bigint;
  const differs = (message: string, more: { offset?: bigint } = {}): void =>
    note(walk.shards, { stage: 'shards', message: `shard ${shard} of ${topic}/${partition}: ${message}`, topic, partition, shard, ...more });
  if (row.ledger_records === null) {
    walk.unledgered ??= shard;
    return;
  }
  if (walk.unledgered !== null) {
    note(walk.shards, { stage: 'shards', message: `shard ${walk.unledgered} of ${topic}/${partition} is not in the table shards`, topic, partition, shard: walk.unledgered });
    walk.unledgered = null;
  }
  const isSealed = row.ledger_sealed === true;
  if (isSealed) found.shards.sealed += 1;
  else found.shards.open += 1;
  if (row.records === null) return differs(`the table shards has ${big(row.ledger_records)} records of it, raw has none`, { offset: row.ledger_first as bigint });
  if (isSealed) tree.add({ shard, first: row.first as bigint, last: row.last as bigint, records: row.records as bigint, sha256: String(row.payloads) });
  // An open shard may be behind what raw took in since.
  if (!isSealed && big(row.records) > big(row.ledger_records)) return;
  if (row.ledger_records === row.records && row.ledger_sha256 === row.payloads && row.ledger_first === row.first && row.ledger_last === row.last) return;
  if (big(row.records) < big(row.ledger_records)) {
    const lost = walk.shards.first === null ? await firstGap(walk, row) : undefined;
    return differs(`the table shards has ${big(row.ledger_records)} records of it, raw has ${big(row.records)}${lost === undefined ? '' : `, and lacks offset ${lost}`}`, lost === undefined ? {} : { offset: lost });
  }
  differs(isRawRight && row.ledger_records === row.records ? 'its payloads have another SHA-256 than the one in the table shards' : `the table shards and raw differ (${big(row.ledger_records)} and ${big(row.records)} records)`);
}

/** The first offset that `raw` lacks of a shard that had no gaps when it was written down; undefined where it had some. */
async function firstGap({ side, extent }: Walk, row: Row): Promise<bigint | undefined> {
  const [first, last] = [row.ledger_first as bigint, row.ledger_last as bigint];
  if (last - first + 1n !== big(row.ledger_records)) return undefined;
  let expected = first;
  for await (const { offset } of rawRows(side.proof, { ...extent, first, next: last + 1n })) {
    if (offset !== expected) return expected;
    expected += 1n;
  }
  return expected;
}

function big(cell: Row[string] | undefined): bigint {
  return typeof cell === 'bigint' || typeof cell === 'number' ? BigInt(cell) : 0n;
}
