import type { Hono } from 'hono';
import type { Facade } from '../../contract.ts';
import type { SparkConnect } from '../../spark-connect/client.ts';
import { createStatements } from './statements.ts';
import { createThrift } from './thrift.ts';

/** `links` is to be mounted without authentication: the signature in each link is its credential, as with cloud storage. */
export type SqlFacade = Facade & { links: Hono };

/** Databricks SQL in front of Spark Connect: Thrift for the drivers, the statement API for REST, whose results wait in `stateDir`. */
export async function createSql(spark: SparkConnect, options: { stateDir: string; warehouseId: string }): Promise<SqlFacade> {
  const thrift = createThrift(spark);
  const statements = await createStatements(spark, options);
  thrift.app.route('/', statements.app);
  const stop = async () => {
    await Promise.allSettled([thrift.stop(), statements.stop()]);
  };
  return { app: thrift.app, links: statements.links, stop };
}
