/** Every restored record, each partition in the order of its offsets, the partitions side by side. */
export function restoredRecords(table: string): string {
  return `SELECT topic, partition, unix_millis(broker_timestamp) AS timestamp, record_key, payload, headers FROM ${table} ORDER BY offset, partition, topic`;
}

/** One row a topic: `partitions`, one more than the highest that has records, and `records`. */
export function restoredTopics(table: string): string {
  return `SELECT topic, max(partition) + 1 AS partitions, count(*) AS records FROM ${table} GROUP BY topic ORDER BY topic`;
}
