import { describe, expect, it } from 'vitest';
import { workspaceClient } from '../workspace/client.ts';
import { SAMPLE_QUERY, SAMPLES } from './matrix.ts';

// The statement execution API of the running platform, as HTTP clients see it.
describe('statement execution API', () => {
  const { api, send, environment } = workspaceClient();
  const path = '/api/2.0/sql/statements';
  const warehouse_id = environment.DATABRICKS_HTTP_PATH?.split('/').at(-1);
  const execute = (statement: string, more: object = {}) => api('POST', path, { warehouse_id, statement, wait_timeout: '50s', ...more });
  const rowsOf = async (statement: string, more: object = {}) => (await execute(statement, more)).result.data_array;

  describe('types', () => {
    it.each(Object.entries(SAMPLES))('%s', async (_name, { sql, rest, typeText }) => {
      const { manifest, result } = await execute(`select ${sql} as v`);
      expect(result.data_array).toEqual([[rest]]);
      expect(manifest.schema.columns[0]).toMatchObject({ name: 'v', position: 0, type_text: typeText });
    });
    it('all in one row', async () => {
      expect(await rowsOf(SAMPLE_QUERY)).toEqual([Object.values(SAMPLES).map(({ rest }) => rest)]);
    });
  });

  it('answers with a manifest and the first chunk', async () => {
    expect(await execute("select id as n, cast(1 as decimal(4,1)) as d, interval '1' day as i from range(2)")).toEqual({
      statement_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      status: { state: 'SUCCEEDED' },
      manifest: {
        format: 'JSON_ARRAY',
        schema: {
          column_count: 3,
          columns: [
            { name: 'n', type_text: 'BIGINT', type_name: 'LONG', position: 0 },
            { name: 'd', type_text: 'DECIMAL(4,1)', type_name: 'DECIMAL', position: 1, type_precision: 4, type_scale: 1 },
            { name: 'i', type_text: 'INTERVAL DAY', type_name: 'INTERVAL', position: 2, type_interval_type: 'DAY' },
          ],
        },
        total_chunk_count: 1,
        chunks: [{ chunk_index: 0, row_offset: 0, row_count: 2, byte_count: 71 }],
        total_row_count: 2,
        total_byte_count: 71,
        truncated: false,
      },
      result: { chunk_index: 0, row_offset: 0, row_count: 2, data_array: [['0', '1.0', '1 00:00:00.000000000'], ['1', '1.0', '1 00:00:00.000000000']] },
    });
  });

  it('cuts a large inline result into chunks that together are the whole', async () => {
    const first = await execute("select id, repeat('x', 80) as x from range(200000)");
    expect(first.manifest.total_chunk_count).toBeGreaterThan(2);
    let { result } = first;
    let expected = 0;
    for (;;) {
      expect(result.row_offset).toBe(expected);
      for (const [id] of result.data_array) if (Number(id) !== expected++) throw new Error(`row ${expected - 1} is ${id}`);
      if (result.next_chunk_internal_link === undefined) break;
      result = await api('GET', result.next_chunk_internal_link);
    }
    expect([expected, first.manifest.total_row_count]).toEqual([200_000, 200_000]);
  });

  it('fails rather than cut an inline result at 25 MiB', async () => {
    const { status, result } = await execute("select id, repeat('x', 100) as x from range(1000000)");
    expect(status).toMatchObject({ state: 'FAILED', error: { error_code: 'BAD_REQUEST', message: expect.stringContaining('EXTERNAL_LINKS') } });
    expect(result).toBeUndefined();
  });

  it.each(['JSON_ARRAY', 'ARROW_STREAM'])('links to a million rows as %s, without the token', async (format) => {
    const { statement_id, manifest } = await execute("select id, cast(id as string) as s, id / 4d as d from range(1000000)", { disposition: 'EXTERNAL_LINKS', format });
    expect(manifest.total_row_count).toBe(1_000_000);
    let [bytes, rows] = [0, 0];
    for (const { chunk_index } of manifest.chunks) {
      const { external_links: [link] } = await api('GET', `${path}/${statement_id}/result/chunks/${chunk_index}`);
      const response = await fetch(link.external_link);
      const body = Buffer.from(await response.arrayBuffer());
      expect([response.status, body.length]).toEqual([200, link.byte_count]);
      bytes += body.length;
      if (format === 'JSON_ARRAY') for (const [id, s, d] of JSON.parse(body.toString())) if (id !== s || Number(d) !== rows++ / 4) throw new Error(`row ${rows - 1} is ${id}`);
    }
    expect(bytes).toBe(manifest.total_byte_count);
    expect(rows).toBe(format === 'JSON_ARRAY' ? 1_000_000 : 0);
    const { external_links: [link] } = await api('GET', `${path}/${statement_id}/result/chunks/0`);
    expect((await fetch(link.external_link.replace('/0?', '/1?'))).status).toBe(403);
  });

  it('binds parameters', async () => {
    const parameters = [{ name: 'd', value: '2024-02-29', type: 'DATE' }, { name: 'n', value: '-0.10', type: 'DECIMAL(5,2)' }, { name: 's', value: "'; drop" }, { name: 'nothing', type: 'INT' }];
    expect(await rowsOf('select :d, :n, :s, :nothing', { parameters })).toEqual([['2024-02-29', '-0.10', "'; drop", null]]);
    const { status } = await execute('select :d', { parameters: [{ name: 'd', value: 'yesterday?', type: 'DATE' }] });
    expect(status.error.message).toContain('CAST_INVALID_INPUT');
  });

  it('uses catalog and schema, and says where a limit cut rows off', async () => {
    await execute('create schema if not exists sql_rest');
    expect(await rowsOf('select current_schema()', { catalog: 'main', schema: 'sql_rest' })).toEqual([['sql_rest']]);
    await execute('drop schema sql_rest');
    expect(await execute('select id from range(9)', { row_limit: 3 })).toMatchObject({ manifest: { truncated: true, total_row_count: 3 }, result: { data_array: [['0'], ['1'], ['2']] } });
    expect(await execute('select id from range(3)', { row_limit: 3 })).toMatchObject({ manifest: { truncated: false, total_row_count: 3 } });
    expect(await execute('select id from range(9)', { byte_limit: 12 })).toMatchObject({ manifest: { truncated: true, total_row_count: 2 } });
    const arrow = { disposition: 'EXTERNAL_LINKS', format: 'ARROW_STREAM' };
    expect(await execute('select id from range(9)', { ...arrow, row_limit: 3 })).toMatchObject({ manifest: { truncated: true, total_row_count: 3 } });
    expect(await execute('select id from range(3)', { ...arrow, row_limit: 3 })).toMatchObject({ manifest: { truncated: false, total_row_count: 3 } });
  });

  it('runs commands once, and empty results are empty', async () => {
    await execute('create or replace table default.sql_rest_once (a int)');
    expect(await execute('insert into default.sql_rest_once values (1)')).toMatchObject({ status: { state: 'SUCCEEDED' }, manifest: { schema: { column_count: 0, columns: [] } } });
    expect(await rowsOf('with twice as (select a * 2 as a from default.sql_rest_once) select count(*), sum(a) from twice')).toEqual([['1', '2']]);
    expect(await rowsOf('delete from default.sql_rest_once')).toEqual([['1']]);
    expect(await execute('select a from default.sql_rest_once')).toMatchObject({ manifest: { total_row_count: 0, total_chunk_count: 0 }, result: { row_count: 0, data_array: [] } });
    await execute('drop table default.sql_rest_once');
  });

  it('reports a failing statement with HTTP 200 and its SQLSTATE', async () => {
    const { status, statement_id } = await execute('select * from nothing_here');
    expect(status).toEqual({ state: 'FAILED', sql_state: '42P01', error: { error_code: 'BAD_REQUEST', message: expect.stringMatching(/^\[TABLE_OR_VIEW_NOT_FOUND\]/) } });
    expect(await api('GET', `${path}/${statement_id}`)).toEqual({ statement_id, status });
    expect(await api('GET', `${path}/${statement_id}/result/chunks/0`)).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE' });
  });

  it('runs asynchronously and cancels', async () => {
    const endless = 'select count(*) from range(1000000000000) where rand() < 2';
    const { statement_id, status } = await execute(endless, { wait_timeout: '0s' });
    expect(['PENDING', 'RUNNING']).toContain(status.state);
    expect(await api('POST', `${path}/${statement_id}/cancel`)).toEqual({});
    expect((await api('GET', `${path}/${statement_id}`)).status).toEqual({ state: 'CANCELED' });
    expect((await execute(endless, { wait_timeout: '5s', on_wait_timeout: 'CANCEL' })).status).toEqual({ state: 'CANCELED' });
  });

  it.each([
    ['wait_timeout', { wait_timeout: '3s' }],
    ['wait_timeout', { wait_timeout: 'soon' }],
    ['on_wait_timeout', { wait_timeout: '0s', on_wait_timeout: 'CANCEL' }],
    ['disposition', { format: 'ARROW_STREAM' }],
    ['row_limit', { row_limit: 0 }],
    ['name', { parameters: [{ value: 'x' }] }],
  ])('refuses a wrong %s', async (what, more) => {
    expect(await execute('select 1', more)).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE', message: expect.stringContaining(what) });
  });

  it('knows its own warehouse and statements only', async () => {
    expect(await execute('select 1', { warehouse_id: 'other' })).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
    expect(await api('GET', `${path}/00000000-0000-0000-0000-000000000000`)).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
  });

  describe('what is not Thrift', () => {
    const thrift = environment.DATABRICKS_HTTP_PATH ?? '';
    it.each([
      ['nothing', Buffer.alloc(0)],
      ['text', Buffer.from('GET me out of here')],
      ['a cut call', Buffer.from('800100010000000b', 'hex')],
      ['a string longer than the body', Buffer.from('800100017fffffff', 'hex')],
      ['a list of two billion nothings', Buffer.from('80010001000000044e6f6e65000000010f0001007fffffff', 'hex')],
      ['structures without end', Buffer.concat([Buffer.from('80010001000000044e6f6e6500000001', 'hex'), Buffer.from('0c0001'.repeat(100_000), 'hex')])],
    ])('%s is refused with 400', async (_name, body) => {
      const response = await send('POST', thrift, body);
      expect([response.status, ((await response.json()) as any).error_code]).toEqual([400, 'MALFORMED_REQUEST']);
    });
    it('too much is refused with 413', async () => {
      expect((await send('POST', thrift, Buffer.alloc(17 * 2 ** 20))).status).toBe(413);
      expect((await send('POST', path, `{"statement":"${'x'.repeat(17 * 2 ** 20)}"}`)).status).toBe(413);
    });
    it('an unknown call is answered as one, and the platform goes on', async () => {
      const response = await send('POST', thrift, Buffer.from('80010001000000044e6f6e650000000100', 'hex'));
      expect(Buffer.from(await response.arrayBuffer()).toString('latin1')).toContain('Unknown function None');
      expect(await rowsOf('select 1')).toEqual([['1']]);
    });
    it('a wrong token is refused before anything is read', async () => {
      expect((await send('POST', thrift, 'x', { authorization: 'Bearer wrong' })).status).toBe(403);
      expect((await send('POST', path, '{}', { authorization: '' })).status).toBe(401);
    });
  });
});
