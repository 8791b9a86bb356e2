import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFINITIONS, planTables, requiredColumns, shapeOf, tableDrift, type TableShape, type TableStep } from '../../src/databricks/shapes.ts';
import type { Config } from '../../src/config/config.ts';
import { applyTableStep, shapesOf } from '../../src/databricks/data.ts';
import type { Sql } from '../../src/databricks/sql.ts';
import { tableStep } from '../../src/deployment/steps.ts';
import { Failure } from '../../src/errors.ts';
import { repository } from '../config/bundle.ts';
import { warehouse } from './warehouse.ts';

const python = readFileSync(join(repository, 'notebooks/pipeline/tables.py'), 'utf8');
const row = (col_name: string, data_type = '', comment: string | null = '') => ({ col_name, data_type, comment });
const made = (table: keyof typeof DEFINITIONS, change: Partial<TableShape> = {}): TableShape => ({
  columns: Object.fromEntries(Object.entries(DEFINITIONS[table].columns).map(([name, type]) => [name, type.replace(' not null', '')])), clusteredBy: DEFINITIONS[table].clusteredBy, partitionedBy: [], windowMinutes: undefined, notNull: requiredColumns(table), nulls: {}, ...change,
});
const without = (table: keyof typeof DEFINITIONS, column: string): TableShape => made(table, { columns: Object.fromEntries(Object.entries(made(table).columns).filter(([name]) => name !== column)) });

describe('the tables', () => {
  it.each(Object.entries(DEFINITIONS))('%s is what the notebooks make', (table, { columns, clusteredBy }) => {
    const text = new RegExp(`^_${table.toUpperCase()} = """\\n([^]*?)"""`, 'm').exec(python)?.[1] ?? '';
    const declared = text.trim().split('\n').map((line) => /^\s*(\w+) (.*?),?$/.exec(line.replace(/ COMMENT '[^']*'/, ''))?.slice(1) as [string, string]);
    expect(Object.fromEntries(declared.map(([name, type]) => [name, type.toLowerCase().replaceAll(/([:,]) /g, '$1')]))).toEqual(columns);
    const made = new RegExp(`CREATE TABLE IF NOT EXISTS \\{tables\\.${table}\\}[^\\n]*USING DELTA(?: CLUSTER BY \\(([^)]*)\\))?`).exec(python);
    expect([made !== null, made?.[1]?.split(', ') ?? []]).toEqual([true, clusteredBy]);
  });

  it('are understood as Delta and as Databricks describe them', () => {
    const columns = [row('Topic', 'string', null), row('sum', 'decimal(38,0)', 'exact'), row('', '', '')];
    const clusters = { columns: { topic: 'string', sum: 'decimal(38,0)' }, clusteredBy: ['topic', 'window_start'], partitionedBy: [], windowMinutes: 10, notNull: undefined, nulls: {} };
    const properties = '[clusteringColumns=[["topic"],["window_start"]],delta.feature.clustering=supported,delta.minReaderVersion=1,streamgauge.window_minutes=10]';
    expect(shapeOf([...columns, row('# Detailed Table Information'), row('Name', 'c.s.windows'), row('Provider', 'delta'), row('Table Properties', properties)])).toEqual(clusters);
    const databricks = [row('# Clustering Information'), row('# col_name', 'data_type', 'comment'), row('topic', 'string'), row('window_start', 'timestamp'), row(''), row('# Delta Statistics Columns'), row('Column Names', 'topic'), row(''), row('# Detailed Table Information'), row('Catalog', 'main'), row('Table Properties', '[delta.enableDeletionVectors=true,streamgauge.window_minutes=10]')];
    expect(shapeOf([...columns, ...databricks])).toEqual(clusters);
    const partitioned = shapeOf([...columns, row('# Partition Information'), row('# col_name', 'data_type', 'comment'), row('topic', 'string'), row(''), row('# Detailed Table Information'), row('Name', 'x')]);
    expect(partitioned).toMatchObject({ clusteredBy: undefined, partitionedBy: ['topic'], windowMinutes: undefined });
    const constrained = '[delta.constraints.a=sum > 0 OR topic IS NOT NULL,delta.constraints.sum_not_null=Sum IS NOT NULL,delta.constraints.z=`topic` IS NOT NULL]';
    expect(shapeOf([...columns, row('# Detailed Table Information'), row('Table Properties', constrained)], ['Offset']).notNull).toEqual(['offset', 'sum', 'topic']);
    expect(shapeOf([...columns, row('# Detailed Table Information'), row('Table Properties', constrained.replace(/,[^,]*z=.*/, ']'))], []).notNull).toEqual(['sum']);
  });
});

describe('what a plan says of them', () => {
  it('nothing of tables as they are made, of none, and of what a catalog does not say', () => {
    const all = Object.fromEntries((Object.keys(DEFINITIONS) as (keyof typeof DEFINITIONS)[]).map((table) => [table, made(table)]));
    expect([planTables(all), tableDrift(all), planTables({}), tableDrift({})]).toEqual([[], [], [], []]);
    expect(tableDrift({ raw: made('raw', { clusteredBy: undefined }) })).toEqual([]);
  });

  it('a column that a later release added is added', () => {
    expect(planTables({ shards: without('shards', 'gaps'), raw: without('raw', 'headers') })).toEqual([
      { do: 'add columns', table: 'raw', columns: [{ name: 'headers', type: 'array<struct<key:string,value:binary>>' }] },
      { do: 'add columns', table: 'shards', columns: [{ name: 'gaps', type: 'array<struct<first_offset:bigint,last_offset:bigint>>' }] },
    ]);
  });

  it.each<[string, TableShape, string, RegExp]>([
    ['another type', made('windows', { columns: { ...made('windows').columns, sum: 'bigint' } }), 'COLUMN_TYPE_CHANGED', /column sum of table windows is bigint.*writes decimal\(38,0\)/],
    ['a column that every row must have', without('windows', 'sequence'), 'COLUMN_MISSING', /no column sequence.*every row must have/],
  ])('%s is refused, with the reason', (_what, windows, code, message) => {
    expect(() => planTables({ windows })).toThrow(expect.objectContaining({ code, exitCode: 2, message: expect.stringMatching(message), hint: expect.stringContaining('--var schema=') }));
  });

  it('a NOT NULL that was dropped is set again, unless rows hold null there: then that is said, with what shows them', () => {
    const lost = requiredColumns('windows').filter((name) => name !== 'sum' && name !== 'key');
    expect(planTables({ windows: made('windows', { notNull: lost, nulls: { key: 2, sum: 0 } }) })).toEqual([{ do: 'set not null', table: 'windows', columns: [{ name: 'sum', type: 'decimal(38,0)' }] }]);
    expect(tableDrift({ windows: made('windows', { notNull: lost, nulls: { key: 2, sum: 0 } }) })).toEqual([
      { table: 'windows', field: 'column key', found: 'string', wanted: 'string not null', why: expect.stringMatching(/refused while 2 of its rows hold null.*WHERE key IS NULL/) },
    ]);
    expect(tableStep({ do: 'set not null', table: 'windows', columns: [{ name: 'sum', type: 'decimal(38,0)' }] })).toMatchObject({ risk: 'safe', changes: [{ field: 'column sum', found: 'decimal(38,0)', wanted: 'decimal(38,0) not null' }] });
  });

  it('where a catalog does not tell which columns take null, that is said, and nothing is planned on a guess', () => {
    const raw = made('raw', { notNull: undefined });
    expect([planTables({ raw }), tableDrift({ raw })]).toEqual([[], [{ table: 'raw', field: 'NOT NULL', found: null, wanted: 'topic, partition, offset, shard', why: 'this catalog does not tell which columns take null' }]]);
  });

  it('columns of others and the layout of files differ, and stay', () => {
    const raw = made('raw', { columns: { ...made('raw').columns, mine: 'int' }, clusteredBy: ['key'], partitionedBy: ['shard'] });
    expect(tableDrift({ raw })).toEqual([
      { table: 'raw', field: 'column mine', found: 'int', wanted: null },
      { table: 'raw', field: 'clustered by', found: 'key', wanted: 'topic, event_time' },
      { table: 'raw', field: 'partitioned by', found: 'shard', wanted: null },
    ]);
    expect(planTables({ raw })).toEqual([]);
  });
});

describe('which columns take null', () => {
  const config = { pipeline: { catalog: 'c', schema: 's' } as Config['pipeline'] };
  /** Asks a warehouse whose catalog tells this of each table, and in whose rows no `sum` stands seven times. */
  const told = async (notNull: Partial<Record<keyof typeof DEFINITIONS, string[] | Failure>>): Promise<Record<string, [readonly string[] | undefined, object]>> => {
    const sql: Sql = {
      ...warehouse({}),
      async *rows(statement) {
        const [, table = ''] = /`(\w+)`$/.exec(statement) ?? [];
        if (statement.startsWith('SELECT')) yield { sum: 7n };
        else for (const [name, type] of Object.entries(DEFINITIONS[table as keyof typeof DEFINITIONS].columns)) yield row(name, type.replace(' not null', ''));
      },
      notNullColumns: async (catalog, schema, table) => {
        expect([catalog, schema]).toEqual(['c', 's']);
        const answer = notNull[table as keyof typeof DEFINITIONS];
        return answer instanceof Failure ? Promise.reject(answer) : answer;
      },
    };
    const shapes = await shapesOf(sql, config, ['`c`.`s`.`raw`', '`c`.`s`.`windows`']);
    return Object.fromEntries(Object.entries(shapes).map(([table, { notNull: columns, nulls }]) => [table, [columns, nulls]]));
  };
  const [raw, windows] = [requiredColumns('raw').sort(), requiredColumns('windows').sort()];
  const without = windows.filter((name) => name !== 'sum');

  it('is what the catalog tells; where one takes null that should not, its rows are counted', async () => {
    expect(await told({ raw, windows })).toEqual({ raw: [raw, {}], windows: [windows, {}] });
    expect(await told({ raw, windows: without })).toEqual({ raw: [raw, {}], windows: [without, { sum: 7 }] });
  });

  it.each<[string, Parameters<typeof told>[0], unknown]>([
    ['a catalog that tells of no table', {}, { raw: [undefined, {}], windows: [undefined, {}] }],
    ['one that calls every column nullable', { raw: [], windows: [] }, { raw: [undefined, {}], windows: [undefined, {}] }],
    ['one that refuses the question for one table', { raw, windows: new Failure({ code: 'NO', kind: 'access', message: 'no' }) }, { raw: [raw, {}], windows: [undefined, {}] }],
  ])('is not known from %s', async (_what, answers, known) => {
    expect(await told(answers)).toEqual(known);
  });
});

describe('a NOT NULL is set again', () => {
  const step: TableStep = { do: 'set not null', table: 'windows', columns: [{ name: 'sum', type: 'decimal(38,0)' }] };
  const [set, constraint] = ['ALTER TABLE `c`.`s`.`windows` ALTER COLUMN sum SET NOT NULL', 'ALTER TABLE `c`.`s`.`windows` ADD CONSTRAINT sum_not_null CHECK (sum IS NOT NULL)'];

  it.each<[string, string | undefined, string, string[]]>([
    ['in the schema, where the engine does that', undefined, 'done', [set]],
    ['as a constraint, where the engine narrows no column', 'SQLSTATE_XX000', 'done', [set, constraint]],
    ['not at all, where a row stands against it', 'DELTA_NOT_NULL_CONSTRAINT_VIOLATED', 'DELTA_NOT_NULL_CONSTRAINT_VIOLATED', [set]],
  ])('%s', async (_what, code, outcome, statements) => {
    const { said, ...sql } = warehouse({});
    const refusing: Sql = {
      ...sql,
      async *rows(statement) {
        if (statement === set && code !== undefined) {
          said.push(statement);
          throw new Failure({ code, kind: 'remote', message: 'no' });
        }
        yield* sql.rows(statement);
      },
    };
    const done = applyTableStep(refusing, '`c`.`s`.`windows`', step);
    expect(await done.then(() => 'done', (error: Failure) => error.code)).toBe(outcome);
    expect(said).toEqual(statements);
  });
});
