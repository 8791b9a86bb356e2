import { describe, expect, it } from 'vitest';
import { boundStatement, type Parameter } from '../../../../src/local/facades/sql/parameters.ts';
import { quoted, sparkCatalog } from '../../../../src/local/facades/sql/session.ts';
import { createShelf } from '../../../../src/local/facades/sql/shelf.ts';
import { statementRequest } from '../../../../src/local/facades/sql/statement-request.ts';
import { resultMetadata } from '../../../../src/local/facades/sql/thrift-results.ts';
import { typeText } from '../../../../src/local/facades/sql/types.ts';
import { splitIpc } from '../../../../src/local/spark-connect/arrow.ts';
import type { DataType } from '../../../../src/local/spark-connect/client.ts';
import { readable } from '../../../../src/local/spark-connect/errors.ts';

const type = (kind: string, facts: object = {}): DataType => ({ kind, [kind]: facts });

describe('names', () => {
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
