import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Hono, type Context } from 'hono';
import type { Facade } from '../../contract.ts';
import { invalid, jsonObject, missing, refusal, text } from '../refusal.ts';
import { readBody } from './body.ts';
import { settledWithin } from './operation.ts';
import { sessionPool } from './session.ts';
import type { SparkConnect } from './spark-connect.ts';
import { statementRequest } from './statement-request.ts';
import { runStatement, type Statement } from './statement-run.ts';
import { decimalOf, intervalText, namesOf, typeText, type Column } from './types.ts';

const MOST_BYTES_IN_A_REQUEST = 16 * 2 ** 20;
const MOST_STATEMENTS = 1_000;
const KEPT_MS = 60 * 60_000;
const LINK_MS = 15 * 60_000;
const PATH = '/api/2.0/sql/statements';

/** The statement execution API; `links` serves the results of EXTERNAL_LINKS to whoever has a signed link. */
export async function createStatements(
  spark: SparkConnect,
  { stateDir, warehouseId }: { stateDir: string; warehouseId: string },
): Promise<Facade & { links: Hono }> {
  const directory = join(stateDir, 'sql-results');
  await rm(directory, { recursive: true, force: true }); // statements do not outlive the platform, so neither do their results
  const statements = new Map<string, Statement>();
  const sessions = sessionPool(spark);
  const key = randomBytes(32);
  const signature = (id: string, chunk: number, expires: number) => createHmac('sha256', key).update(`${id}/${chunk}/${expires}`).digest('base64url');

  const statementOf = (c: Context): Statement => {
    const statement = statements.get(c.req.param('id') ?? '');
    if (!statement) throw missing(`The statement ${c.req.param('id')} was not found.`);
    return statement;
  };

  const app = new Hono();
  app.post(PATH, async (c) => {
    const body = jsonObject((await readBody(c, MOST_BYTES_IN_A_REQUEST)).toString('utf8'));
    const request = statementRequest(body);
    if (text(body, 'warehouse_id') !== warehouseId) throw missing(`SQL warehouse ${String(body.warehouse_id)} does not exist.`);
    makeRoom(statements);
    const id = randomUUID();
    const statement = runStatement(sessions, id, request, join(directory, id));
    statements.set(id, statement);
    const inTime = request.waitMs > 0 && (await settledWithin(statement.settled, request.waitMs));
    if (!inTime && request.onWaitTimeout === 'CANCEL') await statement.cancel();
    return answer(c, statement);
  });
  app.get(`${PATH}/:id`, (c) => answer(c, statementOf(c)));
  app.get(`${PATH}/:id/result/chunks/:chunk`, async (c) => {
    const statement = statementOf(c);
    if (statement.state !== 'SUCCEEDED') throw invalid(`The statement is ${statement.state}: it has no result to fetch.`);
    return json(await chunkJson(c, statement, chunkOf(statement, c.req.param('chunk'))));
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
  async function chunkJson(c: Context, statement: Statement, index: number): Promise<string> {
    const chunk = statement.result?.chunks[index];
    if (!statement.result || !chunk) return JSON.stringify({ chunk_index: 0, row_offset: 0, row_count: 0, ...(statement.request.disposition === 'INLINE' ? { data_array: [] } : { external_links: [] }) });
    const next = index + 1 < statement.result.chunks.length && { next_chunk_index: index + 1, next_chunk_internal_link: `${PATH}/${statement.id}/result/chunks/${index + 1}` };
    const facts = { chunk_index: index, row_offset: chunk.rowOffset, row_count: chunk.rowCount, ...next };
    if (statement.request.disposition === 'INLINE') {
      return `${JSON.stringify(facts).slice(0, -1)},"data_array":${(await statement.result.read(index)).toString('utf8')}}`;
    }
    const expires = Date.now() + LINK_MS;
    const query = new URLSearchParams({ expires: String(expires), signature: signature(statement.id, index, expires) });
    const external_link = `${new URL(c.req.url).origin}/external-links/${statement.id}/${index}?${query}`;
    return JSON.stringify({ external_links: [{ ...facts, byte_count: chunk.bytes, external_link, expiration: new Date(expires).toISOString() }] });
  }

  const links = new Hono();
  links.get('/external-links/:id/:chunk', async (c) => {
    const expires = Number(c.req.query('expires'));
    const expected = Buffer.from(signature(c.req.param('id'), Number(c.req.param('chunk')), expires));
    const given = Buffer.from(c.req.query('signature') ?? '');
    const genuine = given.length === expected.length && timingSafeEqual(given, expected);
    if (!genuine || !(expires > Date.now())) throw refusal(403, 'PERMISSION_DENIED', 'This link is not valid, or no longer.');
    const statement = statementOf(c);
    if (!statement.result) throw missing(`The result of statement ${statement.id} is gone.`);
    const bytes = await statement.result.read(chunkOf(statement, c.req.param('chunk')));
    const type = statement.request.format === 'ARROW_STREAM' ? 'application/vnd.apache.arrow.stream' : 'application/json';
    return c.body(new Uint8Array(bytes), 200, { 'content-type': type });
  });

  const reaper = setInterval(() => {
    for (const statement of statements.values()) if (Date.now() - (statement.finishedAt ?? Infinity) > KEPT_MS) close(statements, statement);
  }, 60_000);
  reaper.unref();
  const stop = async () => {
    clearInterval(reaper);
    await sessions.stop();
    await Promise.allSettled([...statements.values()].map((statement) => statement.cancel()));
    await Promise.allSettled([...statements.values()].map((statement) => statement.result?.remove()));
  };
  return { app, links, stop };
}

/** An ended statement first loses its result (CLOSED), and an hour later its name. */
function close(statements: Map<string, Statement>, statement: Statement): void {
  if (statement.state === 'CLOSED') statements.delete(statement.id);
  if (statement.state === 'SUCCEEDED') statement.state = 'CLOSED';
  void statement.result?.remove().catch(() => {});
  statement.finishedAt = Date.now();
  delete statement.result;
}

function makeRoom(statements: Map<string, Statement>): void {
  if (statements.size < MOST_STATEMENTS) return;
  const oldest = [...statements.values()].find((statement) => statement.finishedAt !== undefined);
  if (!oldest) throw refusal(429, 'RESOURCE_EXHAUSTED', `${MOST_STATEMENTS} statements are running already.`);
  void oldest.result?.remove().catch(() => {});
  statements.delete(oldest.id);
}

function chunkOf(statement: Statement, given: string | undefined): number {
  const index = Number(given);
  const count = statement.result?.chunks.length ?? 0;
  if (!Number.isInteger(index) || index < 0 || (index >= count && index > 0)) throw invalid(`The result has ${count} chunks; there is no chunk ${given}.`);
  return index;
}

function manifestOf({ request, columns, result, truncated }: Statement) {
  const chunks = (result?.chunks ?? []).map(({ rowOffset, rowCount, bytes }, chunk_index) => ({ chunk_index, row_offset: rowOffset, row_count: rowCount, byte_count: bytes }));
  return {
    format: request.format,
    schema: { column_count: columns.length, columns: columns.map(columnInfo) },
    total_chunk_count: chunks.length,
    chunks,
    total_row_count: result?.rows ?? 0,
    total_byte_count: chunks.reduce((sum, { byte_count }) => sum + byte_count, 0),
    truncated,
  };
}

function columnInfo({ name, type }: Column, position: number) {
  const decimal = type.kind === 'decimal' ? decimalOf(type) : undefined;
  return {
    name,
    type_text: typeText(type),
    type_name: namesOf(type).rest,
    position,
    ...(decimal && { type_precision: decimal.precision, type_scale: decimal.scale }),
    ...(intervalText(type) && { type_interval_type: intervalText(type) }),
  };
}

function json(body: string): Response {
  return new Response(body, { headers: { 'content-type': 'application/json' } });
}
