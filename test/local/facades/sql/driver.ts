import { readFileSync } from 'node:fs';
import { DBSQLClient, DBSQLLogger, LogLevel } from '@databricks/sql';
import { inject } from 'vitest';

type Session = Awaited<ReturnType<DBSQLClient['openSession']>>;
type Options = Parameters<Session['executeStatement']>[1];

/** The unmodified Node.js driver, connected to the running platform as its documentation says. */
export async function connectDriver(token = inject('environment').DATABRICKS_TOKEN ?? ''): Promise<DBSQLClient> {
  const { DATABRICKS_HOST = '', DATABRICKS_HTTP_PATH = '', NODE_EXTRA_CA_CERTS = '' } = inject('environment');
  const { hostname, port } = new URL(DATABRICKS_HOST);
  const client = new DBSQLClient({ logger: new DBSQLLogger({ level: LogLevel.error }) });
  await client.connect({
    host: hostname,
    port: Number(port),
    path: DATABRICKS_HTTP_PATH,
    token,
    customCaCert: readFileSync(NODE_EXTRA_CA_CERTS),
    preserveBigNumericPrecision: true,
    telemetryEnabled: false,
  });
  return client;
}

/** All rows of one statement; the operation is closed. */
export async function rowsOf(session: Session, statement: string, options: Options = {}): Promise<any[]> {
  const operation = await session.executeStatement(statement, options);
  try {
    return await operation.fetchAll();
  } finally {
    await operation.close();
  }
}
