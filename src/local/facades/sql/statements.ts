import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Hono, type Context } from 'hono';
import type { SparkConnect } from '../../spark-connect/client.ts';
import type { Facade } from '../../contract.ts';
import { invalid, jsonObject, missing, refusal } from '../refusal.ts';
import { readBody } from './body.ts';
import { settledWithin } from './operation.ts';
import { sessionPool } from './session.ts';
import { createShelf } from './shelf.ts';
import { statementRequest } from './statement-request.ts';
import { runStatement, type Statement } from './statement.ts';
import { decimalOf, intervalText, namesOf, typeText, type Column } from './types.ts';

const MOST_BYTES_IN_A_REQUEST = 16 * 2 ** 20;
const MOST_STATEMENTS = 1_000;
const KEPT_MS = 60 * 60_000;
const LINK_MS = 15 * 60_000;
const PATH = '/api/2.0/sql/statements';

/** The statement execution API; `links` serves the results of EXTERNAL_LINKS to whoever has a signed link. */
export async function createStatements(spark: SparkConnect, { stateDir, warehouseId }: { stateDir: string; warehouseId: string }): Promise<Facade & { links: Hono }> {
  const directory = join(stateDir, 'sql-results');
  await rm(directory, { recursive: true, force: true }); // statements do not outlive the platform, so neither do their results
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const sessions = sessionPool(spark);
  const statements = createShelf<Statement>({ idleMs: KEPT_MS, most: MOST_STATEMENTS, isInUse: ({ state }) => state === 'RUNNING', letGo: (statement) => statement.remove() });
  const links = signedLinks();

  const statementOf = (c: Context): Statement => {
    const statement = statements.get(c.req.param('id') ?? '');
    if (!statement) throw missing(`The statement ${c.req.param('id')} was not found.`);
    return statement;
  };
  const chunkOf = (c: Context, { state, chunks }: Statement): number => {
    if (state !== 'SUCCEEDED') throw invalid(`The statement is ${state}: it has no result to fetch.`);
    const index = Number(c.req.param('chunk'));
    if (index !== 0 && !chunks[index]) throw invalid(`The result has ${chunks.length} chunks; there is no chunk ${c.req.param('chunk')}.`);
    return index;
  };

  const app = new Hono();
  app.post(PATH, async (c) => {
    const request = statementRequest(jsonObject((await readBody(c, MOST_BYTES_IN_A_REQUEST)).toString('utf8')));
    if (request.warehouse_id !== warehouseId) throw missing(`SQL warehouse ${request.warehouse_id} does not exist.`);
    const id = randomUUID();
    const statement = runStatement(sessions, id, request, join(directory, id));
    if (!statements.put(id, statement)) {
      await statement.remove();
      throw refusal(429, 'RESOURCE_EXHAUSTED', `${MOST_STATEMENTS} statements are running already.`);
    }
    const isInTime = request.wait_timeout > 0 && (await settledWithin(statement.settled, request.wait_timeout));
    if (!isInTime && request.on_wait_timeout === 'CANCEL') await statement.cancel();
    return answer(c, statement);
  });
  app.get(`${PATH}/:id`, (c) => answer(c, statementOf(c)));
  app.get(`${PATH}/:id/result/chunks/:chunk`, async (c) => {
    const statement = statementOf(c);
    return json(await chunkJson(c, statement, chunkOf(c, statement)));
  });
  app.post(`${PATH}/:id/cancel`, async (c) => {
    await statementOf(c).cancel();
    return c.json({});
  });

  async function answer(c: Context, statement: Statement): Promise<Response> {
    const { id: statement_id, state, failure } = statement;
    const status = { state, ...(failure && { error: { error_code: 'BAD_REQUEST', message: failure.message }, sql_state: failure.sqlState }) };
    if (state !== 'SUCCEEDED') return c.json({ statement_id, status });
    const head = JSON.stringify({ statement_id, status, manifest: manifestOf(statement) });
    return json(`${head.slice(0, -1)},"result":${await chunkJson(c, statement, 0)}}`);
  }

  /** `result` of an answer: the rows are spliced in as the text that Spark made of them. */
  async function chunkJson(c: Context, { id, request, chunks, read }: Statement, index: number): Promise<string> {
    const isInline = request.disposition === 'INLINE';
    const chunk = chunks[index];
    if (!chunk) return JSON.stringify({ chunk_index: 0, row_offset: 0, row_count: 0, [isInline ? 'data_array' : 'external_links']: [] });
    const next = chunks[index + 1] && { next_chunk_index: index + 1, next_chunk_internal_link: `${PATH}/${id}/result/chunks/${index + 1}` };
    const facts = { chunk_index: index, row_offset: chunk.rowOffset, row_count: chunk.rowCount, ...next };
    if (isInline) return `${JSON.stringify(facts).slice(0, -1)},"data_array":${(await read(index)).toString('utf8')}}`;
    const link = links.sign(new URL(c.req.url).origin, `${id}/${index}`);
    return JSON.stringify({ external_links: [{ ...facts, byte_count: chunk.bytes, ...link }] });
  }

  const linked = new Hono();
  linked.get('/external-links/:id/:chunk', async (c) => {
    links.check(c, `${c.req.param('id')}/${c.req.param('chunk')}`);
    const statement = statementOf(c);
    const bytes = await statement.read(chunkOf(c, statement));
    const type = statement.request.format === 'ARROW_STREAM' ? 'application/vnd.apache.arrow.stream' : 'application/json';
    return c.body(new Uint8Array(bytes), 200, { 'content-type': type });
  });

  const stop = async () => {
    await statements.stop();
    await sessions.stop();
  };
  return { app, links: linked, stop };
}

/** Links whose signature is their credential, for a while. */
function signedLinks() {
  const key = randomBytes(32);
  const signature = (what: string, expires: number) => createHmac('sha256', key).update(`${what}/${expires}`).digest('base64url');
  return {
    sign: (origin: string, what: string) => {
      const expires = Date.now() + LINK_MS;
      const query = new URLSearchParams({ expires: String(expires), signature: signature(what, expires) });
      return { external_link: `${origin}/external-links/${what}?${query}`, expiration: new Date(expires).toISOString() };
    },
    check: (c: Context, what: string) => {
      const expires = Number(c.req.query('expires'));
      const [expected, given] = [signature(what, expires), c.req.query('signature') ?? ''].map((text) => Buffer.from(text)) as [Buffer, Buffer];
      const isGenuine = given.length === expected.length && timingSafeEqual(given, expected);
      if (!isGenuine || !(expires > Date.now())) throw refusal(403, 'PERMISSION_DENIED', 'This link is not valid, or no longer.');
    },
  };
}

function manifestOf({ request, operation: { columns }, chunks, isTruncated }: Statement) {
  const sum = (field: 'bytes' | 'rowCount') => chunks.reduce((total, chunk) => total + chunk[field], 0);
  return {
    format: request.format,
    schema: { column_count: columns.length, columns: columns.map(columnInfo) },
    total_chunk_count: chunks.length,
    chunks: chunks.map(({ rowOffset, rowCount, bytes }, chunk_index) => ({ chunk_index, row_offset: rowOffset, row_count: rowCount, byte_count: bytes })),
    total_row_count: sum('rowCount'),
    total_byte_count: sum('bytes'),
    truncated: isTruncated,
  };
}

function columnInfo({ name, type }: Column, position: number) {
  const decimal = type.kind === 'decimal' && decimalOf(type);
  const interval = intervalText(type);
  return {
    name,
    type_text: typeText(type),
    type_name: namesOf(type).rest,
    position,
    ...(decimal && { type_precision: decimal.precision, type_scale: decimal.scale }),
    ...(interval && { type_interval_type: interval }),
  };
}

function json(body: string): Response {
  return new Response(body, { headers: { 'content-type': 'application/json' } });
}
