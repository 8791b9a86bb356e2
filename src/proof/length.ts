import { publishedMinutes } from '../databricks/rebuild.ts';
import type { Sql } from '../databricks/sql.ts';
import type { Tables } from '../databricks/tables.ts';

/**
 * The length of the windows in minutes that a proof is about: the table's own. Where the configuration wants another one, nothing was computed in
 * that yet, and `warn` is told with which command it is.
 */
export async function windowMinutes(sql: Sql, tables: Tables, { target, configured }: { target: string; configured: number }, warn: (text: string) => void): Promise<number> {
  const found = (await publishedMinutes(sql, tables, target)) ?? configured;
  if (found !== configured) {
    warn(`the table holds windows of ${found} minutes, and window_minutes is ${configured} in the configuration: this is about the windows of ${found} minutes. The others: streamgauge windows rebuild --window ${configured}m -t ${target}; or set window_minutes back to ${found}`);
  }
  return found;
}
