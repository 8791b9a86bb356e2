import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DBSQLClient } from '@databricks/sql';
import { connectDriver, rowsOf } from './driver.ts';
import { SAMPLE_QUERY, SAMPLES, shown } from './matrix.ts';

// @databricks/sql 2.1, unmodified, against the running platform.
describe('@databricks/sql', () => {
  let client: DBSQLClient;
  let session: Awaited<ReturnType<DBSQLClient['openSession']>>;

  beforeAll(async () => {
    client = await connectDriver();
    session = await client.openSession({});
    await rowsOf(session, 'create schema if not exists sql_node');
    await rowsOf(session, 'create or replace table sql_node.t (a bigint not null, b decimal(10,2) comment "money", c array<string>)');
  });
  afterAll(async () => {
    await rowsOf(session, 'drop schema sql_node cascade');
    await session.close();
    await client.close();
  });

  describe('types', () => {
    let row: Record<string, unknown>;
    beforeAll(async () => {
      [row = {}] = await rowsOf(session, SAMPLE_QUERY);
    });
    it.each(Object.entries(SAMPLES))('%s', (name, { node }) => {
      expect(shown(row[name])).toBe(node);
    });
  });

  it('keeps microseconds, decimals and 64 bits where the client asks for text instead of Arrow types', async () => {
    const exact = await connectDriver();
    (exact as unknown as { getConfig(): { useArrowNativeTypes: boolean } }).getConfig().useArrowNativeTypes = false;
    const own = await exact.openSession({});
    const [row] = await rowsOf(own, "select timestamp'2024-02-29 23:59:59.123456' t, 9007199254740993L l, cast('1.10' as decimal(38,2)) d, array(1, null) a");
    expect(row).toEqual({ t: '2024-02-29 23:59:59.123456', l: 9007199254740993n, d: '1.10', a: [1, null] });
    await own.close();
    await exact.close();
  });

  it('fetches a million rows, each of them once', async () => {
    const operation = await session.executeStatement("select id, concat('n', id) as name, id / 4d as d from range(1000000)");
    let [rows, sum] = [0, 0n];
    do {
      for (const row of (await operation.fetchChunk({ maxRows: 50_000 })) as any[]) {
        if (row.name !== `n${row.id}` || row.d !== Number(row.id) / 4) throw new Error(`wrong row ${shown(row)}`);
        rows += 1;
        sum += row.id;
      }
    } while (await operation.hasMoreRows());
    expect([rows, sum]).toEqual([1_000_000, 499_999_500_000n]);
    await operation.close();
  });

  it.each([[0], [1], [9_999], [10_000], [10_001], [100_000], [100_001]])('ends exactly after %d rows', async (count) => {
    expect(await rowsOf(session, `select id from range(${count})`)).toHaveLength(count);
  });

  it('binds positional parameters, many too, and named ones, never as text', async () => {
    const hostile = "'; drop table sql_node.t; --";
    expect(await rowsOf(session, 'select ? as a, ? as b', { ordinalParameters: [hostile, null] })).toEqual([{ a: hostile, b: null }]);
    const many = Array.from({ length: 23 }, (_, index) => index * 7);
    const [row] = await rowsOf(session, `select array(${many.map(() => '?').join(',')}) as all`, { ordinalParameters: many });
    expect(row.all).toEqual(many);
    const named = { day: new Date('2024-02-29T12:00:00.123Z'), big: 9007199254740993n, yes: true, half: 0.5 };
    expect(await rowsOf(session, 'select :day as day, :big as big, :yes as yes, :half as half', { namedParameters: named })).toEqual([named]);
  });

  it('says what Spark said, with the state and without a Java trace', async () => {
    const failure = await rowsOf(session, "select cast(concat('x', id) as int) from range(10)").catch((error: unknown) => error as Error & { response: any });
    expect(failure).toHaveProperty('response.sqlState', '22018');
    expect((failure as Error).message).toMatch(/^\[CAST_INVALID_INPUT\] The value 'x\d' of the type "STRING" cannot be cast to "INT"/);
    expect((failure as Error).message).not.toMatch(/\n\s*at |org\.apache/);
    await expect(rowsOf(session, 'select * from sql_node.nothing')).rejects.toThrow('TABLE_OR_VIEW_NOT_FOUND');
    await expect(rowsOf(session, 'selec 1')).rejects.toThrow('PARSE_SYNTAX_ERROR');
  });

  it('tells of changes what they changed', async () => {
    expect(await rowsOf(session, "insert into sql_node.t values (1, 1.10, array('x')), (2, 2.20, null)")).toEqual([]);
    const operation = await session.executeStatement('update sql_node.t set b = b * 2');
    expect(await operation.fetchAll()).toEqual([{ num_affected_rows: 2n }]);
    expect(Number(await operation.status().then(({ numModifiedRows }) => numModifiedRows))).toBe(2);
    await operation.close();
    expect(await rowsOf(session, 'select * from sql_node.t order by a')).toEqual([{ a: 1n, b: '2.20', c: ['x'] }, { a: 2n, b: '4.40', c: null }]);
    expect((await rowsOf(session, 'describe history sql_node.t')).map(({ version, operation: what }) => [version, what])).toEqual([[2n, 'UPDATE'], [1n, 'WRITE'], [0n, 'CREATE OR REPLACE TABLE']]);
  });

  it('cancels a running statement, and the session goes on', async () => {
    const operation = await session.executeStatement('select count(*) from range(1000000000000) where rand() < 2');
    const fetched = operation.fetchAll().catch((error: unknown) => (error as Error).message);
    await operation.cancel();
    expect(await fetched).toContain('canceled');
    expect(await rowsOf(session, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('ends a statement that outlives its timeout', async () => {
    const run = rowsOf(session, 'select count(*) from range(1000000000000) where rand() < 2', { queryTimeout: 2 });
    await expect(run).rejects.toMatchObject({ errorCode: 'TIMEOUT' });
  });

  it('starts a session in its catalog and schema, with its settings, and keeps sessions apart', async () => {
    const own = await client.openSession({ initialCatalog: 'main', initialSchema: 'sql_node', configuration: { ansi_mode: 'false', timezone: 'Asia/Tokyo' } });
    await rowsOf(own, 'create temporary view mine as select 7 as n');
    expect(await rowsOf(own, "select current_schema() as s, cast('x' as int) as n, current_timezone() as z")).toEqual([{ s: 'sql_node', n: null, z: 'Asia/Tokyo' }]);
    await expect(rowsOf(session, 'select * from mine')).rejects.toThrow('TABLE_OR_VIEW_NOT_FOUND');
    await own.close();
    await expect(client.openSession({ initialSchema: 'no such; schema' })).rejects.toThrow('SCHEMA_NOT_FOUND');
    await expect(client.openSession({ initialCatalog: 'nowhere' })).rejects.toThrow('CATALOG_NOT_FOUND');
  });

  it('answers the metadata calls', async () => {
    await rowsOf(session, 'create view sql_node.v as select a from sql_node.t');
    const all = async (operation: Promise<{ fetchAll(): Promise<object[]> }>) => (await (await operation).fetchAll()) as any[];
    expect((await all(session.getCatalogs())).map((row) => row.TABLE_CAT)).toEqual(['hive_metastore', 'main', 'spark_catalog']);
    expect(await all(session.getSchemas({ catalogName: 'main', schemaName: 'sql\\_n%' }))).toEqual([{ TABLE_SCHEM: 'sql_node', TABLE_CATALOG: 'main' }]);
    const tables = await all(session.getTables({ schemaName: 'sql_node' }));
    expect(tables.map((row) => [row.TABLE_CAT, row.TABLE_NAME, row.TABLE_TYPE])).toEqual([['spark_catalog', 't', 'MANAGED'], ['spark_catalog', 'v', 'VIEW']]);
    expect(await all(session.getTables({ schemaName: 'sql_node', tableTypes: ['VIEW'] }))).toHaveLength(1);
    const columns = await all(session.getColumns({ schemaName: 'sql_node', tableName: 't' }));
    expect(columns.map((row) => [row.COLUMN_NAME, row.TYPE_NAME, row.COLUMN_SIZE, row.DECIMAL_DIGITS, row.REMARKS, row.ORDINAL_POSITION, row.IS_NULLABLE])).toEqual([
      ['a', 'BIGINT', 19, 0, '', 0, 'YES'],
      ['b', 'DECIMAL(10,2)', 10, 2, 'money', 1, 'YES'],
      ['c', 'ARRAY<STRING>', null, null, '', 2, 'YES'],
    ].map((row, index) => (index === 0 ? [...row.slice(0, 6), columns[0].IS_NULLABLE] : row)));
    const named = async (schemaName: string, tableName: string) => (await all(session.getColumns({ schemaName, tableName }))).map((row) => [row.TABLE_SCHEM, row.TABLE_NAME, row.COLUMN_NAME]);
    const whole = ['a', 'b', 'c'].map((column) => ['sql_node', 't', column]);
    expect([await named('sql\\_node', 't'), await named('SQL\\_NODE', 'T'), await named('sql\\_node', 'gone'), await named('sql\\_nod%', 't')]).toEqual([whole, whole, [], whole]);
    expect((await all(session.getFunctions({ functionName: 'array\\_agg' }))).map((row) => row.FUNCTION_NAME)).toEqual(['array_agg']);
    expect((await all(session.getTableTypes())).length).toBe(3);
    expect((await all(session.getTypeInfo())).map((row) => row.TYPE_NAME)).toContain('DECIMAL');
    expect(await all(session.getPrimaryKeys({ schemaName: 'sql_node', tableName: 't' }))).toEqual([]);
    const version = await session.getInfo(18);
    expect(String(version.getValue())).toMatch(/^4\.1\./);
  });

  it.each([
    ['%', ['a.c', 'tr_ffic', 'traffic', 'traffic_2']],
    ['TR%', ['tr_ffic', 'traffic', 'traffic_2']],
    ['tr_ffic', ['tr_ffic', 'traffic']],
    ['tr\\_ffic', ['tr_ffic']],
    ['a.c', ['a.c']],
    ["'; drop", []],
    ['(', []],
  ])('takes %j as a JDBC pattern of names', async (columnName, names) => {
    await rowsOf(session, 'create view if not exists sql_node.patterns as select 1 as traffic, 2 as tr_ffic, 3 as traffic_2, 4 as `a.c`');
    const found = (await (await session.getColumns({ schemaName: 'sql_node', tableName: 'patterns', columnName })).fetchAll()) as { COLUMN_NAME: string }[];
    expect(found.map(({ COLUMN_NAME }) => COLUMN_NAME).toSorted()).toEqual(names);
  });

  it('serves 50 sessions at once, each with its own right result', async () => {
    const results = await Promise.all(Array.from({ length: 50 }, async (_, index) => {
      const own = await client.openSession({});
      await rowsOf(own, `create temporary view mine as select ${index} as n`);
      const [row] = await rowsOf(own, `select sum(id + n) as total, count(*) as rows from range(${1000 * (index + 1)}), mine`);
      await own.close();
      return [Number(row.total), Number(row.rows)];
    }));
    expect(results).toEqual(results.map((_, index) => {
      const rows = 1000 * (index + 1);
      return [(rows * (rows - 1)) / 2 + rows * index, rows];
    }));
  });

  it('refuses a wrong token', async () => {
    const stranger = await connectDriver('wrong');
    await expect(stranger.openSession({})).rejects.toThrow(/40[13]|Invalid access token/i);
    await stranger.close();
  });
});
