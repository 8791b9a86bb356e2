import type { Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
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
export function answerErrors(app: Hono, log: Log, failed = (message: string) => refusal(500, 'INTERNAL_ERROR', message)): void {
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.res) return error.res;
    log(`${c.req.method} ${c.req.path}: ${error.stack ?? error.message}`);
    return failed(`the local platform failed: ${messageOf(error)}`).getResponse();
  });
}

/** The answer to a route nobody here needs: 501, so that no client retries it, and it names itself. */
export function notPartOfThePlatform(c: Context): Response {
  return c.json({ error_code: 'NOT_IMPLEMENTED', message: `${c.req.method} ${c.req.path} is not part of the local platform` }, 501);
}

/** Middleware that answers 413 to a body of more than `maxSize` bytes. */
export function limit(maxSize: number) {
  return bodyLimit({ maxSize, onError: () => refusal(413, 'REQUEST_LIMIT_EXCEEDED', `a request has at most ${maxSize} bytes`).getResponse() });
}

/** The JSON object in a text; {} for an empty one, 400 MALFORMED_REQUEST for anything else. */
export function jsonObject(text: string): Record<string, unknown> {
  if (text.trim() === '') return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw refusal(400, 'MALFORMED_REQUEST', 'the request body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refusal(400, 'MALFORMED_REQUEST', 'the request body is not a JSON object');
  return body as Record<string, unknown>;
}

/** A required string of a body or query; 400 otherwise. */
export function text(from: Record<string, unknown>, name: string): string {
  const value = from[name];
  if (typeof value !== 'string' || value === '') throw invalid(`Missing required field: ${name}`);
  return value;
}
