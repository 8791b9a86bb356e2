import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { likePattern } from '../../../../src/local/facades/sql/metadata.ts';
import { finishedOperation } from '../../../../src/local/facades/sql/operation.ts';
import { splitIpc } from '../../../../src/local/facades/sql/projection.ts';
import { createResultFile } from '../../../../src/local/facades/sql/results.ts';
import { quoted, sparkCatalog } from '../../../../src/local/facades/sql/session.ts';
import { readable } from '../../../../src/local/facades/sql/spark-errors.ts';
import { statementRequest } from '../../../../src/local/facades/sql/statement-request.ts';
import { fetchedResults, resultMetadata } from '../../../../src/local/facades/sql/thrift-results.ts';
import { typeText } from '../../../../src/local/facades/sql/types.ts';
import type { DataType } from '../../../../src/local/facades/sql/spark-connect.ts';

const type = (kind: string, facts: object = {}): DataType => ({ kind, [kind]: facts });

describe('names', () => {
  it.each<[string | undefined, string, boolean]>([
    [undefined, 'anything', true],
    ['%', 'anything', true],
    ['tr%', 'traffic', true],
    ['TR%', 'traffic', true],
    ['tr_ffic', 'traffic', true],
    ['tr\\_ffic', 'traffic', false],
    ['tr\\_ffic', 'tr_ffic', true],
    ['a.c', 'abc', false],
    ['(', '(', true],
    ['traffic', 'traffic_2', false],
  ])('JDBC pattern %s on %s: %s', (pattern, name, matches) => {
    expect(likePattern(pattern).test(name)).toBe(matches);
  });

  it('are quoted, whatever is in them', () => {
    expect(quoted('a`; drop', 'b c')).toBe('`a``; drop`.`b c`');
  });

  it.each([['main', 'spark_catalog'], ['Hive_Metastore', 'spark_catalog'], ['other', 'other']])('catalog %s is %s in Spark', (name, spark) => {
    expect(sparkCatalog(name)).toBe(spark);
  });
});

describe('typeText', () => {
  it.each<[DataType, string]>([
    [type('long'), 'BIGINT'],
    [type('decimal', { precision: 38, scale: 9 }), 'DECIMAL(38,9)'],
    [type('var_char', { length: 5 }), 'VARCHAR(5)'],
    [type('year_month_interval', { start_field: 1, end_field: 1 }), 'INTERVAL MONTH'],
    [type('day_time_interval', { start_field: 0, end_field: 3 }), 'INTERVAL DAY TO SECOND'],
    [type('day_time_interval'), 'INTERVAL DAY TO SECOND'],
    [type('array', { element_type: type('map', { key_type: type('string'), value_type: type('struct', { fields: [{ name: 'x', data_type: type('date') }] }) }) }), 'ARRAY<MAP<STRING, STRUCT<x: DATE>>>'],
    [type('struct'), 'STRUCT<>'],
  ])('%#: %o', (given, text) => {
    expect(typeText(given)).toBe(text);
  });
});

describe('readable', () => {
  it.each([
    ["[X] nope. SQLSTATE: 42P01; line 1 pos 14;\n'Project [*]\n+- 'UnresolvedRelation", '[X] nope. SQLSTATE: 42P01; line 1 pos 14'],
    ['[X] nope. SQLSTATE: 22012\n== SQL (line 1, position 8) ==\nselect 1/0\n       ^^^', '[X] nope. SQLSTATE: 22012\n== SQL (line 1, position 8) ==\nselect 1/0\n       ^^^'],
    ['Job aborted: boom\n\tat org.apache.spark.X.y(X.scala:1)\n\tat java.base/Z\n\nDriver stacktrace:', 'Job aborted: boom'],
    ['boom\n\nJVM stacktrace:\norg.apache.spark.SparkException\n\tat x', 'boom'],
  ])('%j', (message, shown) => {
    expect(readable(message)).toBe(shown);
  });
});

describe('Arrow streams', () => {
  const message = (metadata: number, body: number) => Buffer.concat([Buffer.from([255, 255, 255, 255, metadata, 0, 0, 0]), Buffer.alloc(metadata, 1), Buffer.alloc(body, 2)]);

  it.each([[true], [false]])('are split into schema and batches; end mark: %s', (marked) => {
    const [schema, batch] = [message(16, 0), message(8, 24)];
    const end = marked ? Buffer.from('ffffffff00000000', 'hex') : Buffer.alloc(0);
    expect(splitIpc(Buffer.concat([schema, batch, end]))).toEqual({ schema, batches: batch });
  });
});

describe('Thrift answers', () => {
  const operation = finishedOperation([{ name: 'a', type: type('integer') }, { name: 'b', type: type('string') }], [[1, 'x'], [null, null], [3, '']]);

  it('count columns from 1', () => {
    expect(resultMetadata(operation).schema.columns.map(({ columnName, position }) => [columnName, position])).toEqual([['a', 1], ['b', 2]]);
  });

  it('carry nulls as bits, and say exactly whether rows are left', async () => {
    const first = fetchedResults(operation, await operation.fetch(2, Infinity), false);
    expect(first).toMatchObject({
      hasMoreRows: true,
      results: { startRowOffset: 0, columns: [{ i32Val: { values: [1, 0], nulls: Buffer.from([0b10]) } }, { stringVal: { values: ['x', ''], nulls: Buffer.from([0b10]) } }] },
    });
    const last = fetchedResults(operation, await operation.fetch(2, Infinity), true);
    expect(last).toMatchObject({ hasMoreRows: false, results: { startRowOffset: 2 }, resultSetMetadata: { resultFormat: 1 } });
  });
});

describe('statementRequest', () => {
  it('has the documented defaults', () => {
    expect(statementRequest({ statement: 'select 1' })).toEqual({ statement: 'select 1', disposition: 'INLINE', format: 'JSON_ARRAY', waitMs: 10_000, onWaitTimeout: 'CONTINUE', parameters: [] });
  });

  it.each([
    [{}],
    [{ statement: 'x', wait_timeout: '51s' }],
    [{ statement: 'x', wait_timeout: 5 }],
    [{ statement: 'x', disposition: 'inline' }],
    [{ statement: 'x', byte_limit: -1 }],
    [{ statement: 'x', parameters: 'a' }],
    [{ statement: 'x', parameters: [null] }],
    [{ statement: 'x', parameters: [{ name: 'a', value: [1] }] }],
  ])('refuses %j', (body) => {
    expect(() => statementRequest(body)).toThrow(expect.objectContaining({ status: 400 }));
  });
});

describe('result files', () => {
  it('keep rows in chunks, framed as the format wants, and disappear', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'streamgauge-results-'));
    const result = await createResultFile(join(folder, 'in', 'one'), 8, { before: () => Buffer.from('['), after: Buffer.from(']'), cut: 1 });
    for (const text of ['["1"],', '["2"],["3"],', '', '["4"],']) await result.append({ data: Buffer.from(text), rowCount: text.split('],').length - 1 });
    await result.finish();
    expect(result.chunks.map(({ rowOffset, rowCount }) => [rowOffset, rowCount])).toEqual([[0, 3], [3, 1]]);
    const chunks = await Promise.all(result.chunks.map(async (_chunk, index) => JSON.parse((await result.read(index)).toString())));
    expect(chunks).toEqual([[['1'], ['2'], ['3']], [['4']]]);
    await result.remove();
    expect(await readdir(join(folder, 'in'))).toEqual([]);
    await rm(folder, { recursive: true });
  });
});
