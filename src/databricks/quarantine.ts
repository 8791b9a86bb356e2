import { Failure } from '../errors.ts';
import type { Row, Sql } from './sql.ts';
import type { Tables } from './tables.ts';

/** Where a record stands in Kafka. */
export type Position = { topic: string; partition: number; offset: bigint };

/** Header of a corrected record: the position of the one that it replaces, `topic/partition/offset`. */
export const REPLAY_HEADER = 'streamgauge-replay-of';

/** Kept by `quarantine replay`: which bad records have been sent again, corrected. The originals stay as they are. */
const REPLAYS = `topic STRING NOT NULL, partition INT NOT NULL, offset BIGINT NOT NULL,
  started_at TIMESTAMP NOT NULL, replay_partition INT COMMENT 'null until the broker has acknowledged the corrected record', replay_offset BIGINT`;

const SAME = 't.topic = :topic AND t.partition = :partition AND t.offset = :offset';

/** Makes the ledger of replays where it is missing. */
export async function ensureReplays(sql: Sql, { replays }: Tables): Promise<void> {
  await Array.fromAsync(sql.rows(`CREATE TABLE IF NOT EXISTS ${replays} (${REPLAYS}) USING DELTA`));
}

/** Bad records, the newest first, with the position of their replay where there is one. */
export async function listQuarantine(sql: Sql, { quarantine, replays }: Tables, { reason, limit }: { reason?: string | undefined; limit: number }): Promise<Row[]> {
  const where = reason === undefined ? '' : 'WHERE reason = :reason';
  return Array.fromAsync(
    sql.rows(
      `SELECT q.topic, q.partition, q.offset, q.reason, q.broker_timestamp, substr(q.payload_text, 1, 200) AS payload, r.replay_partition, r.replay_offset, r.started_at AS replay_started
       FROM ${quarantine} q LEFT JOIN ${replays} r USING (topic, partition, offset) ${where} ORDER BY q.broker_timestamp DESC, q.topic, q.partition, q.offset DESC LIMIT ${limit}`,
      reason === undefined ? {} : { reason },
    ),
  );
}

/** How many there are of each reason. */
export async function quarantineReasons(sql: Sql, { quarantine, replays }: Tables): Promise<Row[]> {
  return Array.fromAsync(sql.rows(`SELECT q.reason, count(*) AS records, count(r.replay_offset) AS replayed FROM ${quarantine} q LEFT JOIN ${replays} r USING (topic, partition, offset) GROUP BY q.reason ORDER BY records DESC, q.reason`));
}

/** One bad record with its payload (base64), record key and headers; Failure NOT_IN_QUARANTINE where the position is not one. */
export async function quarantined(sql: Sql, { raw, replays }: Tables, position: Position): Promise<Row> {
  const [row] = await Array.fromAsync(
    sql.rows(`SELECT t.*, r.replay_partition, r.replay_offset, r.started_at AS replay_started FROM ${raw} t LEFT JOIN ${replays} r USING (topic, partition, offset) WHERE ${SAME} AND t.error IS NOT NULL`, position),
  );
  if (row !== undefined) return row;
  const { topic, partition, offset } = position;
  throw new Failure({ code: 'NOT_IN_QUARANTINE', kind: 'usage', message: `${topic}/${partition}/${offset} is not a bad record`, hint: 'See which there are: streamgauge quarantine list' });
}

/** Notes that a replay begins; a second one at the same time notes nothing twice. */
export async function beginReplay(sql: Sql, { replays }: Tables, position: Position): Promise<void> {
  await Array.fromAsync(
    sql.rows(
      `MERGE INTO ${replays} t USING (SELECT :topic AS topic, CAST(:partition AS INT) AS partition, CAST(:offset AS BIGINT) AS offset) s ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset
       WHEN MATCHED THEN UPDATE SET started_at = current_timestamp(), replay_partition = NULL, replay_offset = NULL
       WHEN NOT MATCHED THEN INSERT (topic, partition, offset, started_at) VALUES (s.topic, s.partition, s.offset, current_timestamp())`,
      position,
    ),
  );
}

/** Notes where the corrected record stands. */
export async function endReplay(sql: Sql, { replays }: Tables, position: Position, replay: { partition: number; offset: bigint }): Promise<void> {
  const { topic, partition, offset } = position;
  await Array.fromAsync(sql.rows(`UPDATE ${replays} AS t SET replay_partition = CAST(:replayPartition AS INT), replay_offset = CAST(:replayOffset AS BIGINT) WHERE ${SAME}`, { topic, partition, offset, replayPartition: replay.partition, replayOffset: replay.offset }));
}

/** Removes the note of a replay that did not reach the broker. */
export async function forgetReplay(sql: Sql, { replays }: Tables, position: Position): Promise<void> {
  await Array.fromAsync(sql.rows(`DELETE FROM ${replays} AS t WHERE ${SAME} AND t.replay_offset IS NULL`, position));
}

/** Was this record sent again, corrected? It stays in quarantine then, whatever a later rule says of it. */
export async function isReplayed(sql: Sql, { replays }: Tables, position: Position): Promise<boolean> {
  const at = replays.lastIndexOf('.');
  const there = await Array.fromAsync(sql.rows(`SHOW TABLES IN ${replays.slice(0, at)} LIKE '${replays.slice(at + 1).replaceAll('`', '')}'`));
  return there.length > 0 && (await Array.fromAsync(sql.rows(`SELECT 1 FROM ${replays} AS t WHERE ${SAME}`, position))).length > 0;
}

/** Where a corrected record of this position has come into `raw`, by its header; undefined where none has. */
export async function replayInRaw(sql: Sql, { raw }: Tables, { topic, partition, offset }: Position): Promise<{ partition: number; offset: bigint } | undefined> {
  const [row] = await Array.fromAsync(
    sql.rows(`SELECT partition, offset FROM ${raw} WHERE topic = :topic AND exists(headers, h -> h.key = '${REPLAY_HEADER}' AND decode(h.value, 'UTF-8') = :position) ORDER BY offset LIMIT 1`, { topic, position: `${topic}/${partition}/${offset}` }),
  );
  return row === undefined ? undefined : { partition: Number(row.partition), offset: row.offset as bigint };
}
