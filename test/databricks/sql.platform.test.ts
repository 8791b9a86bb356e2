import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/config.ts';
import { openSql, type Cell, type Sql } from '../../src/databricks/sql.ts';
import { createProject } from '../acceptance/project.ts';

let config: Config;
let sql: Sql;
beforeAll(async () => {
  config = loadConfig({ cwd: createProject('sqlroom').folder, target: 'local', vars: [], needsEnvironment: true });
  sql = await openSql(config);
});
afterAll(() => sql.close());

const cells = async (statement: string, parameters?: Parameters<Sql['execute']>[1]): Promise<Cell[][]> => {
  const { batches } = await sql.execute(statement, parameters);
  return (await Array.fromAsync(batches)).flat();
};

describe('results are exact', () => {
  it.each<[string, Cell]>([
    ['CAST(9223372036854775807 AS BIGINT)', 9223372036854775807n],
    ['CAST(-9223372036854775808 AS BIGINT)', -9223372036854775808n],
    ["CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0))", '99999999999999999999999999999999999999'],
    ["CAST('-0.00000000000000000000000000000000000001' AS DECIMAL(38,38))", '-0.00000000000000000000000000000000000001'],
    ["TIMESTAMP'2026-05-01 10:00:00.123456+02:00'", '2026-05-01T08:00:00.123456Z'],
    ["TIMESTAMP_NTZ'2026-05-01 10:00:00.000001'", '2026-05-01T10:00:00.000001'],
    ["TIMESTAMP'1969-12-31 23:59:59.999999Z'", '1969-12-31T23:59:59.999999Z'],
    ["DATE'0001-01-01'", '0001-01-01'],
    ["DATE'9999-12-31'", '9999-12-31'],
    ["X'00FF10'", 'AP8Q'],
    ["'流量 \"x\"'", '流量 "x"'],
    ["CAST('NaN' AS DOUBLE)", Number.NaN],
    ['CAST(0.1 AS DOUBLE)', 0.1],
    ['CAST(NULL AS BIGINT)', null],
    ['true', true],
    ['array(9007199254740993, NULL)', [9007199254740993n, null]],
    ["map('a', CAST(1.10 AS DECIMAL(4,2)))", { a: '1.10' }],
    ["named_struct('t', TIMESTAMP'2026-01-01 00:00:00.000001Z', 'n', array(named_struct('b', 9007199254740993)))", { t: '2026-01-01T00:00:00.000001Z', n: [{ b: 9007199254740993n }] }],
  ])('%s', async (expression, expected) => {
    expect(await cells(`SELECT ${expression} AS x, ${expression} AS x`)).toEqual([[expected, expected]]);
  });

  it('names every column and its type, those that share a name, too', async () => {
    const { columns } = await sql.execute("SELECT 1L AS a, CAST(1 AS DECIMAL(38,2)) AS a, array(1) AS `b c`, TIMESTAMP'2026-01-01' AS t");
    expect(columns).toEqual([
      { name: 'a', type: 'BIGINT' },
      { name: 'a', type: 'DECIMAL(38,2)' },
      { name: 'b c', type: 'ARRAY<INT>' },
      { name: 't', type: 'TIMESTAMP' },
    ]);
  });

  it('a million rows come complete, in order, and without being held', async () => {
    const before = process.memoryUsage().rss;
    const { batches } = await sql.execute('SELECT id, CAST(id AS STRING) AS s, CAST(id AS DOUBLE) AS d FROM range(0, 1000000, 1, 8) ORDER BY id');
    let next = 0n;
    for await (const batch of batches) {
      for (const [id, text, double] of batch) {
        if (id !== next || text !== String(next) || double !== Number(next)) throw new Error(`row ${next} is ${String(id)}, ${String(text)}, ${String(double)}`);
        next += 1n;
      }
    }
    expect(next).toBe(1_000_000n);
    expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
  });

  it('an empty result has columns and no rows; a statement without a result has neither', async () => {
    const { columns, batches } = await sql.execute('SELECT * FROM range(0)');
    expect([columns, await Array.fromAsync(batches)]).toEqual([[{ name: 'id', type: 'BIGINT' }], []]);
    expect(await cells(`CREATE SCHEMA IF NOT EXISTS \`${config.pipeline.catalog}\`.sql_room`)).toEqual([]);
  });
});

describe('statements', () => {
  it('bind parameters instead of splicing them', async () => {
    expect(await cells('SELECT :n + 1, :text, :flag, :nothing', { n: 9007199254740993n, text: "'; DROP TABLE x --", flag: true, nothing: null })).toEqual([[9007199254740994n, "'; DROP TABLE x --", true, null]]);
  });

  it('give rows as objects; one that is left early lets the session go on', async () => {
    const seen: unknown[] = [];
    for await (const row of sql.rows('SELECT id FROM range(1000000)')) {
      seen.push(row);
      break;
    }
    expect(seen).toEqual([{ id: 0n }]);
    expect(await Array.fromAsync(sql.rows('SELECT 2 AS two'))).toEqual([{ two: 2 }]);
  });

  it.each([
    ['SELECT * FROM no_such_table', 'TABLE_OR_VIEW_NOT_FOUND', 2, /streamgauge run/],
    ['SELEC 1', 'PARSE_SYNTAX_ERROR', 2, /^undefined$/],
    ['SELECT 1/0', 'DIVIDE_BY_ZERO', 2, /^undefined$/],
    ['SELECT :missing', 'UNBOUND_SQL_PARAMETER', 2, /^undefined$/],
  ])('%s fails with what Spark says', async (statement, code, exitCode, hint) => {
    const failure = await cells(statement).then(() => undefined, (error: unknown) => error as { code: string; exitCode: number; hint?: string; message: string });
    expect(failure).toMatchObject({ code, exitCode });
    expect(failure?.message).toContain(`[${code}]`);
    expect(String(failure?.hint)).toMatch(hint);
  });

  it('end when they are interrupted', async () => {
    const abort = new AbortController();
    const own = await openSql(config, abort.signal);
    const slow = Array.fromAsync(own.rows('SELECT sum(a.id * b.id % 7) FROM range(100000000) a CROSS JOIN range(100000) b'));
    const timer = setTimeout(() => abort.abort(), 1000);
    await expect(slow).rejects.toMatchObject({ name: 'AbortError' });
    clearTimeout(timer);
    await own.close();
    expect(await cells('SELECT 1')).toEqual([[1]]);
  });
});

describe('connecting', () => {
  const elsewhere = (databricks: Partial<Config['databricks']>): Config => ({ ...config, databricks: { ...config.databricks, ...databricks } });

  it('a wrong token is refused as such', async () => {
    const token = process.env.DATABRICKS_TOKEN;
    process.env.DATABRICKS_TOKEN = 'wrong';
    try {
      await expect(openSql(config)).rejects.toMatchObject({ kind: 'access', exitCode: 3 });
    } finally {
      process.env.DATABRICKS_TOKEN = token;
    }
  });

  it('a warehouse that is not named, and a workspace that is not there, are said', async () => {
    await expect(openSql(elsewhere({ httpPath: undefined }))).rejects.toMatchObject({ code: 'WAREHOUSE_MISSING', exitCode: 2 });
    await expect(openSql(elsewhere({ host: 'https://127.0.0.1:9' }))).rejects.toMatchObject({ code: 'DATABRICKS_UNREACHABLE', exitCode: 4, message: expect.stringContaining('127.0.0.1:9') });
  });
});
