import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { ifReachable } from './cache.ts';
import { jar as brought } from './maven.ts';

const run = promisify(execFile);
const jar = await ifReachable('Databricks JDBC', brought('com.databricks:databricks-jdbc:3.0.1'));

// Databricks' own JDBC driver, unmodified: what BI tools and notebooks on the JVM connect with.
describe.skipIf(jar === undefined)('Databricks JDBC', () => {
  let seen: Record<string, string>;

  beforeAll(async () => {
    const environment = inject('environment');
    const folder = await mkdtemp(join(tmpdir(), 'streamgauge-jdbc-'));
    const { java } = inject('platform').runtime;
    const trust = [join(folder, 'trust.p12'), 'changeit'] as const;
    await run(join(dirname(java), 'keytool'), ['-importcert', '-noprompt', '-file', environment.NODE_EXTRA_CA_CERTS!, '-keystore', trust[0], '-storetype', 'PKCS12', '-storepass', trust[1]]);
    // Arrow's Java reaches into direct buffers.
    const flags = ['-Dfile.encoding=UTF-8', '--add-opens=java.base/java.nio=ALL-UNNAMED', '-XX:TieredStopAtLevel=1', '-cp', jar as string];
    const env = { PATH: process.env.PATH ?? '', HOME: folder, ...environment };
    const { stdout } = await run(java, [...flags, join(import.meta.dirname, 'Jdbc.java'), ...trust, 'jdbc_witness'], { env, cwd: folder, maxBuffer: 2 ** 24 });
    await rm(folder, { recursive: true });
    seen = Object.fromEntries(stdout.split('\n').filter((line) => line.includes('\t')).map((line) => line.split('\t') as [string, string]));
  });

  it.each(Object.entries({
    types: 'big BIGINT, exact DECIMAL, moment TIMESTAMP, day DATE, list ARRAY, bytes BINARY, nan DOUBLE, nothing INT, yes BOOLEAN, text STRING',
    values: '9223372036854775807 | 12345678901234567890.123 | 2024-01-01 00:00:00.123456 | 2024-02-29 | [1,2] | 00ff | NaN | null | true | 流量',
    empty: '',
    parameters: `9223372036854775807 | x'; drop table t -- | 12.345 | 2024-01-01 10:00:00.5 | null`,
    many: '200000 19999900000',
    tables: 't',
    columns: '1 a BIGINT -5, 2 b DECIMAL 3',
    batch: '3',
    updated: '2',
    rows: '1 | 0.00; 2 | 0.00; 3 | 3.50',
    catalogs: 'hive_metastore, main, spark_catalog',
    afterwards: '1',
  }))('%s', (name, expected) => {
    expect(seen[name]).toBe(expected);
  });

  it('says what Spark said', () => {
    expect(seen.error).toMatch(/^DatabricksSQLException: .*\[TABLE_OR_VIEW_NOT_FOUND\] The table or view `nothing_here` cannot be found/);
  });

  it('is turned away with a wrong token', () => {
    expect(seen.stranger).toMatch(/^DatabricksSQLException: .*(?:403|Invalid access token)/);
  });
});
