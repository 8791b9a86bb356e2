import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';

/** The codes that MSK documents, with their statuses, plus what stands for "not part of this platform". */
const STATUS = {
  BadRequestException: 400,
  UnauthorizedException: 401,
  UnrecognizedClientException: 403,
  InvalidSignatureException: 403,
  IncompleteSignatureException: 403,
  MissingAuthenticationTokenException: 403,
  NotFoundException: 404,
  ConflictException: 409,
  InternalServerErrorException: 500,
  NotImplementedException: 501,
  ServiceUnavailableException: 503,
} as const;

/** An error answer to throw from a handler, as the AWS SDKs parse it: the code is in a header, the rest in the body. */
export function mskError(code: keyof typeof STATUS, message: string, invalidParameter?: string): HTTPException {
  const status = STATUS[code];
  const res = Response.json({ message, invalidParameter }, { status, headers: { 'x-amzn-errortype': code } });
  return new HTTPException(status, { message, res });
}

/** The request's JSON object; BadRequestException for anything else. */
export async function bodyOf(c: Context): Promise<Record<string, unknown>> {
  const text = await c.req.text();
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>;
  } catch {
    // Answered below, as what is JSON but no object.
  }
  throw mskError('BadRequestException', 'The request body is not a JSON object.');
}

/** One page of a list by `maxResults` (1 to 100) and `nextToken`, as all of MSK's lists are paged. */
export function pageOf<T>(c: Context, items: T[]): { items: T[]; nextToken?: string } {
  const most = Number(c.req.query('maxResults') ?? 100);
  if (!Number.isInteger(most) || most < 1 || most > 100) throw mskError('BadRequestException', 'maxResults is from 1 to 100.', 'maxResults');
  const token = c.req.query('nextToken');
  const from = token === undefined ? 0 : Number(Buffer.from(token, 'base64url').toString('utf8'));
  if (!Number.isInteger(from) || from < 0) throw mskError('BadRequestException', 'The specified nextToken is not valid.', 'nextToken');
  const next = from + most;
  return { items: items.slice(from, next), ...(next < items.length && { nextToken: Buffer.from(String(next)).toString('base64url') }) };
}
