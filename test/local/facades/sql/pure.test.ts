import { createRequire } from 'node:module';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { boundStatement, type Parameter } from '../../../../src/local/facades/sql/parameters.ts';
import { quoted, sparkCatalog, type SessionPool } from '../../../../src/local/facades/sql/session.ts';
import { createShelf } from '../../../../src/local/facades/sql/shelf.ts';
import { runStatement } from '../../../../src/local/facades/sql/statement.ts';
import { statementRequest } from '../../../../src/local/facades/sql/statement-request.ts';
import type { Operation } from '../../../../src/local/facades/sql/operation.ts';
import { createHandles } from '../../../../src/local/facades/sql/thrift-handles.ts';
import { fetchedResults, resultMetadata } from '../../../../src/local/facades/sql/thrift-results.ts';
import { typeText } from '../../../../src/local/facades/sql/types.ts';
import { splitIpc } from '../../../../src/local/spark-connect/rows.ts';
import type { DataType, SparkSession } from '../../../../src/local/spark-connect/client.ts';
import { readable } from '../../../../src/local/spark-connect/errors.ts';

const { Table, tableToIPC, Utf8, vectorFromArray } = createRequire(import.meta.url)('apache-arrow') as typeof import('apache-arrow', { with: { 'resolution-mode': 'require' } });
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
    expect(splitIpc(Buffer.concat([schema, batch, end]))).toEqual({ schema, batch });
  });
});

describe('parameters', () => {
  const bound = (...parameters: Parameter[]) => {
    const { sql } = boundStatement('the statement', parameters).with_relations.root;
    return [sql.query, ...Object.values<any>(sql.named_arguments).map(({ literal }) => literal.string)];
  };

  it('leave a statement without them as it is', () => {
    expect(boundStatement('select 1', [])).toEqual({ sql: { query: 'select 1' } });
  });

  it.each<[Parameter[], string, ...string[]]>([
    [[{ value: "'; drop" }], 'EXECUTE IMMEDIATE :p0 USING :p1', "'; drop"],
    [[{ type: 'int', value: '1' }, {}, { type: 'VOID', value: 'x' }], 'EXECUTE IMMEDIATE :p0 USING CAST(:p1 AS INT), NULL, NULL', '1'],
    [[{ name: 'a`b', type: 'DATE', value: '2024-02-29' }], 'EXECUTE IMMEDIATE :p0 USING CAST(:p1 AS DATE) AS `a``b`', '2024-02-29'],
    [[{ type: 'DECIMAL', value: '-012.50' }], 'EXECUTE IMMEDIATE :p0 USING CAST(:p1 AS DECIMAL(4, 2))', '-012.50'],
    [[{ type: 'DECIMAL(5,2)', value: 'x' }], 'EXECUTE IMMEDIATE :p0 USING CAST(:p1 AS DECIMAL(5,2))', 'x'],
    [[{ type: 'INTERVAL DAY TO SECOND', value: '1' }], 'EXECUTE IMMEDIATE :p0 USING CAST(:p1 AS INTERVAL DAY TO SECOND)', '1'],
    [[{ type: 'MAP', arguments: [{ value: 'k' }, { type: 'ARRAY', arguments: [{ type: 'INT', value: '7' }] }] }], 'EXECUTE IMMEDIATE :p0 USING MAP(:p1, ARRAY(CAST(:p2 AS INT)))', 'k', '7'],
  ])('%j are literals that Spark casts', (parameters, query, ...texts) => {
    expect(bound(...parameters)).toEqual([query, 'the statement', ...texts]);
  });

  it.each([['INT); drop table t; --'], ['STRING, 1'], ['INTERVAL DAY TO SECOND TO'], ['STRUCT<a: INT>'], ['']])('refuse the type %j', (name) => {
    expect(() => bound({ type: name, value: '1' })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_PARAMETER_TYPE' }));
  });

  it.each([['1e5'], ['.'], ['9'.repeat(39)]])('refuse the DECIMAL %s, whose digits cannot all be kept', (value) => {
    expect(() => bound({ type: 'DECIMAL', value })).toThrow(expect.objectContaining({ code: 'CAST_INVALID_INPUT' }));
  });
});

describe('what nobody uses', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const minutes = (count: number) => vi.advanceTimersByTimeAsync(count * 60_000);
  const code = (call: () => unknown) => {
    try {
      call();
    } catch (error) {
      return (error as { code?: string }).code;
    }
    return undefined;
  };

  it('leaves a shelf, where it is not in use; a full one loses its oldest', async () => {
    const gone: string[] = [];
    const busy = new Set(['busy']);
    const shelf = createShelf<string>({ idleMs: 60_000, most: 2, isInUse: (thing) => busy.has(thing), letGo: async (thing) => void gone.push(thing) });
    expect([shelf.put('a', 'busy'), shelf.put('b', 'asked for')]).toEqual([true, true]);
    vi.advanceTimersByTime(40_000);
    expect(shelf.get('b')).toBe('asked for');
    vi.advanceTimersByTime(40_000);
    expect(gone).toEqual([]);
    vi.advanceTimersByTime(40_000);
    expect([gone, shelf.get('b')]).toEqual([['asked for'], undefined]);
    expect([shelf.put('c', 'old'), shelf.put('d', 'new'), gone]).toEqual([true, true, ['asked for', 'old']]);
    busy.add('new');
    expect(shelf.put('e', 'one too many')).toBe(false);
    await shelf.stop();
    expect(gone).toEqual(['asked for', 'old', 'busy', 'new']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('goes in Spark, too: operations after 15 minutes, sessions an hour after their last operation', async () => {
    const told: string[] = [];
    const spark = { release: async () => void told.push('released') } as SparkSession;
    const operation = (state: Operation['state']) => ({ state, stop: async (why: string) => void told.push(`${state} ${why}`) }) as Operation;
    const handles = createHandles();
    const session = handles.addSession(spark);
    const [fetched, running] = [operation('FINISHED'), operation('RUNNING')];
    const opened = handles.addOperation(session, fetched, 0);
    const busy = handles.addOperation(session, running, 0);
    await minutes(10);
    expect(handles.operation(opened)).toBe(fetched);
    await minutes(10);
    expect(told).toEqual([]);
    await minutes(6);
    expect([told, code(() => handles.operation(opened))]).toEqual([['FINISHED CANCELED'], 'INVALID_HANDLE']);
    await minutes(200);
    expect(handles.operation(busy)).toBe(running);
    void handles.closeOperation(busy);
    await minutes(59);
    expect(told).toEqual(['FINISHED CANCELED', 'RUNNING CANCELED']);
    await minutes(2);
    expect([told.at(-1), code(() => handles.session(session))]).toEqual(['released', 'INVALID_HANDLE']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('closing a session stops its operations and releases it; a guessed handle is none', async () => {
    const told: string[] = [];
    const handles = createHandles();
    const session = handles.addSession({ release: async () => void told.push('released') } as SparkSession);
    handles.addOperation(session, { state: 'RUNNING', stop: async () => void told.push('stopped') } as unknown as Operation, 0);
    expect(code(() => handles.session({ sessionId: { ...session.sessionId, secret: Buffer.alloc(16) } }))).toBe('INVALID_HANDLE');
    await handles.closeSession(session);
    expect(told).toEqual(['stopped', 'released']);
    await handles.stop();
  });
});

describe('Thrift answers', () => {
  const columns = [{ name: 'a', type: type('integer') }, { name: 'b', type: type('decimal', { precision: 4, scale: 1 }) }];
  const operation = { columns, arrowSchema: Buffer.from('schema') } as Operation;

  it('count columns from 1', () => {
    expect(resultMetadata(operation).schema.columns.map(({ columnName, position }) => [columnName, position])).toEqual([['a', 1], ['b', 2]]);
  });

  it('carry Arrow as it is, and say exactly whether rows are left', () => {
    const page = { startRow: 7, batches: [], rows: 0, hasMore: true };
    expect(fetchedResults(operation, page, false)).toMatchObject({ hasMoreRows: true, results: { startRowOffset: 7, arrowBatches: [] } });
    expect(fetchedResults(operation, { ...page, hasMore: false }, true)).toMatchObject({ hasMoreRows: false, resultSetMetadata: { resultFormat: 0, arrowSchema: operation.arrowSchema } });
  });
});

describe('a statement of the statement API', () => {
  /** A session that answers every plan with the same batches of JSON rows. */
  const answering = (...batches: string[][]) => {
    const told: string[] = [];
    const responses = async function* () {
      for (const rows of batches) yield { response_id: '', arrow_batch: { row_count: rows.length, data: Buffer.from(tableToIPC(new Table({ row: vectorFromArray(rows, new Utf8()) }), 'stream')) } };
    };
    const session = { schema: async () => ({ fields: [{ name: 'n', data_type: type('string') }] }), execute: () => ({ responses: responses(), interrupt: async () => void told.push('interrupted') }) };
    const pool: SessionPool = { take: async () => session as unknown as SparkSession, giveBack: (_session, isUnchanged) => void told.push(isUnchanged ? 'as new' : 'used'), stop: async () => {} };
    return { told, pool };
  };
  const rows = ['["1"],', '["2"],', '["3"],'];
  const megabytes = (count: number) => [`["${'x'.repeat(count * 2 ** 20)}"],`];
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'streamgauge-results-'))));
  afterEach(() => rm(folder, { recursive: true }));

  it.each<[object, string[][], string[], boolean]>([
    [{}, [rows.slice(0, 2), [], rows.slice(2)], ['[["1"],["2"],["3"]]'], false],
    [{ byte_limit: 17 }, [rows.slice(0, 1), rows.slice(1)], ['[["1"],["2"]]'], true],
    [{ byte_limit: 18 }, [rows], ['[["1"],["2"],["3"]]'], false],
    [{ byte_limit: 5 }, [rows], [], true],
    [{}, [], [], false],
  ])('with %j keeps what Spark answers in chunks of JSON', async (more, batches, chunks, isTruncated) => {
    const { pool, told } = answering(...batches);
    const statement = runStatement(pool, 'id', statementRequest({ statement: 'select n', warehouse_id: 'w', ...more }), join(folder, 'one'));
    await statement.settled;
    expect(statement).toMatchObject({ state: 'SUCCEEDED', isTruncated });
    expect(await Promise.all(statement.chunks.map(async (_chunk, index) => (await statement.read(index)).toString()))).toEqual(chunks);
    expect(told.at(-1)).toBe('as new');
    await statement.remove();
    expect(await readdir(folder)).toEqual([]);
  });

  it('ends a chunk at four megabytes, and fails inline beyond 25', async () => {
    const run = async (...batches: string[][]) => {
      const statement = runStatement(answering(...batches).pool, 'id', statementRequest({ statement: 'select n', warehouse_id: 'w' }), join(folder, 'one'));
      await statement.settled;
      await statement.remove();
      return [statement.state, ...statement.chunks.map(({ rowOffset, rowCount }) => [rowOffset, rowCount])];
    };
    expect(await run(megabytes(1), megabytes(2), megabytes(3))).toEqual(['SUCCEEDED', [0, 2], [2, 1]]);
    expect(await run(megabytes(20), megabytes(6))).toEqual(['FAILED', [0, 1], [1, 1]]);
  });
});

describe('statementRequest', () => {
  it('has the documented defaults', () => {
    expect(statementRequest({ statement: 'select 1', warehouse_id: 'w', schema: null })).toEqual({ statement: 'select 1', warehouse_id: 'w', disposition: 'INLINE', format: 'JSON_ARRAY', wait_timeout: 10_000, on_wait_timeout: 'CONTINUE', parameters: [] });
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
    expect(() => statementRequest({ warehouse_id: 'w', ...body })).toThrow(expect.objectContaining({ status: 400 }));
  });
});
