import { createInterface } from 'node:readline';
import { DBSQLClient, LogLevel } from '@databricks/sql';
import { MILLION } from './clients.ts';

// A program of its own (clients.ts starts it): a line in names the work, a line out is its milliseconds.
const { DATABRICKS_HOST = '', DATABRICKS_HTTP_PATH = '', DATABRICKS_TOKEN = '' } = process.env;
const client = new DBSQLClient({ logger: { log: (level, message) => void (level === LogLevel.error && process.stderr.write(`${message}\n`)) } });
const { hostname, port } = new URL(DATABRICKS_HOST);
await client.connect({ host: hostname, port: Number(port), path: DATABRICKS_HTTP_PATH, token: DATABRICKS_TOKEN, telemetryEnabled: false });
const session = await client.openSession();

type Operation = Awaited<ReturnType<typeof session.executeStatement>>;
type Source = { hasMore(): Promise<boolean>; fetchNext(options: { limit: number }): Promise<{ rowCount: number }> };

const rows = async (operation: Operation) => (await operation.fetchAll()).length;

/** Before the driver makes JavaScript rows of them. */
async function batches(operation: Operation): Promise<number> {
  const handler = await (operation as unknown as { getResultHandler(): Promise<{ source: { source: Source } }> }).getResultHandler();
  const { source } = handler.source;
  let count = 0;
  while (await source.hasMore()) count += (await source.fetchNext({ limit: 100_000 })).rowCount;
  return count;
}

const WORK: Record<string, [sql: string, read: (operation: Operation) => Promise<number>, rows: number]> = {
  one: ['SELECT 1', rows, 1],
  batches: [MILLION, batches, 1_000_000],
  rows: [MILLION, rows, 1_000_000],
};

for await (const line of createInterface({ input: process.stdin })) {
  const [sql, read, expected] = WORK[line.trim()]!;
  const startedAt = performance.now();
  const operation = await session.executeStatement(sql, { maxRows: 100_000 });
  const count = await read(operation);
  await operation.close();
  process.stdout.write(`${performance.now() - startedAt}\n`);
  if (count !== expected) throw new Error(`${count} rows of ${expected}`);
}
await session.close();
await client.close();
