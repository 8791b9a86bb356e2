import type { Context, Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { messageOf } from '../../errors.ts';
import type { Log } from '../contract.ts';

/** A Databricks error answer to throw from a handler: the body's `error_code` is what the SDKs map to their classes. */
export function refusal(status: ContentfulStatusCode, errorCode: string, message: string, headers: Record<string, string> = {}): HTTPException {
  return new HTTPException(status, { message, res: Response.json({ error_code: errorCode, message }, { status, headers }) });
}

/** 404 RESOURCE_DOES_NOT_EXIST. */
export function missing(message: string): HTTPException {
  return refusal(404, 'RESOURCE_DOES_NOT_EXIST', message);
}

/** 400 INVALID_PARAMETER_VALUE. */
export function invalid(message: string): HTTPException {
  return refusal(400, 'INVALID_PARAMETER_VALUE', message);
}

/** Makes `app` answer thrown refusals as they are and anything else as a logged 500; call before mounting the app elsewhere. */
export function answerErrors(app: Hono, log: Log): void {
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.res) return error.res;
    log(`${c.req.method} ${c.req.path}: ${error instanceof Error ? error.stack : messageOf(error)}`);
    return c.json({ error_code: 'INTERNAL_ERROR', message: `the local platform failed: ${messageOf(error)}` }, 500);
  });
}

/** The answer to a route nobody here needs: 501, so that no client retries it, and it names itself. */
export function notPartOfThePlatform(c: Context): Response {
  return c.json({ error_code: 'NOT_IMPLEMENTED', message: `${c.req.method} ${c.req.path} is not part of the local platform` }, 501);
}

/** The request's JSON object; {} for an empty body, 400 MALFORMED_REQUEST for anything else. */
export async function jsonBody(c: Context): Promise<Record<string, unknown>> {
  return jsonObject(await c.req.text());
}

/** The same of a text that is already here. */
export function jsonObject(text: string): Record<string, unknown> {
  if (text.trim() === '') return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw refusal(400, 'MALFORMED_REQUEST', 'the request body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw refusal(400, 'MALFORMED_REQUEST', 'the request body is not a JSON object');
  }
  return body as Record<string, unknown>;
}

/** A required string of a body or query; 400 otherwise. */
export function text(from: Record<string, unknown>, name: string): string {
  const value = from[name];
  if (typeof value !== 'string' || value === '') throw invalid(`Missing required field: ${name}`);
  return value;
}

/** A required int64 id of a body or query (clients send numbers or digits); 400 otherwise. */
export function identifier(from: Record<string, unknown>, name: string): number {
  const value = typeof from[name] === 'string' && /^\d+$/.test(from[name]) ? Number(from[name]) : from[name];
  if (!Number.isSafeInteger(value)) throw invalid(`Missing or invalid required field: ${name}`);
  return value as number;
}
