import type { Hono } from 'hono';
import type { Facade, Log, Runtime, SparkDoor } from '../../contract.ts';
import { connectSpark } from './spark-connect.ts';
import { createStatements } from './statements.ts';
import { createThrift } from './thrift.ts';

export type SqlOptions = {
  spark: SparkDoor;
  runtime: Pick<Runtime, 'python' | 'sparkConnectJar'>;
  /** Where the protocol's .proto files are unpacked, once per engine version. */
  cacheDir: string;
  /** Where results of statements wait until they are fetched; emptied at the start. */
  stateDir: string;
  warehouseId: string;
  log: Log;
};

/** `links` is to be mounted without authentication: the signature in each link is its credential, as with cloud storage. */
export type SqlFacade = Facade & { links: Hono };

/** Databricks SQL in front of Spark Connect: Thrift for the drivers, the statement API for REST. */
export async function createSql(options: SqlOptions): Promise<SqlFacade> {
  const spark = await connectSpark(options.spark, options.runtime, options.cacheDir);
  const thrift = createThrift(spark, options.log);
  const statements = await createStatements(spark, options);
  thrift.app.route('/', statements.app);
  const stop = async () => {
    await Promise.allSettled([thrift.stop(), statements.stop()]);
    spark.close();
  };
  return { app: thrift.app, links: statements.links, stop };
}
