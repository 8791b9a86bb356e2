import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';

/** Quoted, fully qualified names of the pipeline's tables: `catalog`.`schema`.`table`. */
export type Tables = Readonly<Record<'raw' | 'shards' | 'windows' | 'lateRecords' | 'quarantine' | 'replays' | 'rebuiltWindows' | 'rebuiltLateRecords' | 'replacedWindows' | 'replacedLateRecords' | 'rebuiltJudged' | 'replacedJudged', string>>;

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,254}$/;

/** The pipeline's tables; a name that would need quoting is refused, so that no name can carry SQL. */
export function tableNames({ catalog, schema }: Pick<Config['pipeline'], 'catalog' | 'schema'>): Tables {
  for (const [variable, name] of Object.entries({ catalog, schema })) {
    if (IDENTIFIER.test(name)) continue;
    throw new Failure({
      code: 'IDENTIFIER_INVALID',
      kind: 'usage',
      message: `${variable} ${JSON.stringify(name)} is not a plain SQL identifier`,
      hint: `Use letters, digits and "_" in the variable ${variable}.`,
    });
  }
  const named = (table: string): string => `\`${catalog}\`.\`${schema}\`.\`${table}\``;
  return {
    raw: named('raw'), shards: named('shards'), windows: named('windows'), lateRecords: named('late_records'), quarantine: named('quarantine'), replays: named('replays'),
    // What `windows rebuild` computes, and what it has replaced (notebooks/pipeline/tables.py names them, too).
    rebuiltWindows: named('windows_rebuilt'), rebuiltLateRecords: named('late_records_rebuilt'), replacedWindows: named('windows_replaced'), replacedLateRecords: named('late_records_replaced'),
    // Verdicts on records that are others than those in `raw` (notebooks/pipeline/judged.py).
    rebuiltJudged: named('judged_rebuilt'), replacedJudged: named('judged_replaced'),
  };
}

/** Per topic and partition: `next_offset` (one past the highest that `raw` holds), `records`, `bad`. */
export function rawPositions(tables: Tables): string {
  return `SELECT topic, partition, max(offset) + 1 AS next_offset, count(*) AS records, count_if(error IS NOT NULL) AS bad
FROM ${tables.raw} GROUP BY topic, partition ORDER BY topic, partition`;
}

/** One row: `windows`, `revised` (published more than once), `newest_end` and `sequence`, the last change. */
export function windowCounts(tables: Tables): string {
  return `SELECT count(*) AS windows, count_if(revision > 1) AS revised, max(window_end) AS newest_end, max(sequence) AS sequence
FROM ${tables.windows}`;
}

/** Every window of this table (quoted name) that changed after `:sequence`, in the order of its change: what an export has still to carry. */
export function windowsAfter(table: string): string {
  return `SELECT * FROM ${table} WHERE sequence > :sequence ORDER BY sequence, topic, key, window_start`;
}
