import { beforeAll, describe, expect, inject, it } from 'vitest';
import { witness, witnessPython } from '../../../witness/python.ts';
import { SAMPLE_QUERY, SAMPLES } from './matrix.ts';

// databricks-sql-connector for Python, unmodified, against the running platform.
describe('databricks-sql-connector (Python)', () => {
  const ask = (name: string, input: object = {}) => witness('databricks_sql', name, inject('environment'), input);

  beforeAll(async () => {
    await witnessPython();
  });

  describe('types', () => {
    let seen: { cells: Record<string, string>; description: Record<string, string> };
    beforeAll(async () => {
      seen = await ask('types', { query: SAMPLE_QUERY });
    });
    it.each(Object.entries(SAMPLES))('%s', (name, { python }) => {
      expect(seen.cells[name]).toBe(python);
    });
    it('are named in the description', () => {
      expect(seen.description).toMatchObject({ bigint: 'bigint', decimal: 'decimal', timestamp: 'timestamp', date: 'date', array: 'array', map: 'map', struct: 'struct', binary: 'binary', interval_day_time: 'interval_day_time', void: 'null' });
    });
  });

  it('fetches every row once, whole and in portions', async () => {
    const sizes = [0, 1, 9_999, 10_000, 10_001, 100_000];
    expect(await ask('counts', { sizes })).toEqual(sizes.map((size) => [size, size, size]));
  });

  it('fetches a million rows', async () => {
    expect(await ask('million')).toEqual([1_000_000, 499_999_500_000, 1_000_000, 124_999_875_000]);
  });

  it('binds parameters of every kind', async () => {
    expect(await ask('parameters')).toEqual({
      positional: ['1', `"a'b"`, "Decimal('12345.6789')", 'datetime.date(2020, 2, 29)', 'datetime.datetime(2020, 2, 29, 1, 2, 3, 4, tzinfo=<UTC>)', 'None', '1.5', '1152921504606846976', 'True'],
      named: [1_152_921_504_606_846_976, '; drop'],
      nested: ['[1, 2]', "[('k', Decimal('1.50'))]"],
    });
  });

  it('says what Spark said, and goes on', async () => {
    const { missing, division, after, catalog, token } = await ask('errors');
    expect(missing).toEqual(['ServerOperationError', expect.stringContaining('[TABLE_OR_VIEW_NOT_FOUND] The table or view `nothing_here` cannot be found')]);
    expect(division).toEqual(['ServerOperationError', expect.stringContaining('SQLSTATE: 22012')]);
    expect(after).toBe(1);
    expect(catalog).toEqual(['DatabaseError', expect.stringContaining('CATALOG_NOT_FOUND')]);
    expect(token[0]).toBe('RequestError');
  });

  it('gets the declared columns of DDL and DML, and how many rows were changed', async () => {
    expect(await ask('changes', { schema: 'sql_python_changes' })).toEqual([[[], [], -1], [[], [], -1], [[], [], -1], [['num_affected_rows'], [[1]], 1], [[], [], -1]]);
  });

  it('gets answers to the metadata calls', async () => {
    const schema = 'sql_python_metadata';
    const { catalogs, schemas, tables, columns } = await ask('metadata', { schema });
    expect(catalogs).toEqual([{ TABLE_CAT: 'hive_metastore' }, { TABLE_CAT: 'main' }, { TABLE_CAT: 'spark_catalog' }]);
    expect(schemas).toEqual([{ TABLE_SCHEM: schema, TABLE_CATALOG: 'spark_catalog' }]);
    expect(tables).toMatchObject([{ TABLE_CAT: 'spark_catalog', TABLE_SCHEM: schema, TABLE_NAME: 't', TABLE_TYPE: 'MANAGED' }]);
    expect(columns).toMatchObject([{ COLUMN_NAME: 'a', TYPE_NAME: 'BIGINT', ORDINAL_POSITION: 0 }, { COLUMN_NAME: 'b', TYPE_NAME: 'DECIMAL(10,2)', DECIMAL_DIGITS: 2, COLUMN_SIZE: 10 }]);
  });

  it('cancels from another thread', async () => {
    expect(await ask('cancelled')).toEqual({ error: ['DatabaseError', expect.stringContaining('cancel')], after: 5 });
  });

  it('runs asynchronously', async () => {
    expect(await ask('asynchronous')).toBe(12_345);
  });
});
