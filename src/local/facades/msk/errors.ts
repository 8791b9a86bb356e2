import { HTTPException } from 'hono/http-exception';
import { z } from 'zod';
import type { Manner } from '../routes.ts';

/** The codes that MSK documents, with their statuses, plus what stands for "not part of this platform". */
const STATUS = {
  BadRequestException: 400,
  UnrecognizedClientException: 403,
  InvalidSignatureException: 403,
  IncompleteSignatureException: 403,
  MissingAuthenticationTokenException: 403,
  NotFoundException: 404,
  ConflictException: 409,
  InternalServerErrorException: 500,
  NotImplementedException: 501,
} as const;

/** An error answer to throw from a handler, as the AWS SDKs parse it: the code is in a header, the rest in the body. */
export function mskError(code: keyof typeof STATUS, message: string, invalidParameter?: string): HTTPException {
  const status = STATUS[code];
  const res = Response.json({ message, invalidParameter }, { status, headers: { 'x-amzn-errortype': code } });
  return new HTTPException(status, { message, res });
}

/** BadRequestException. */
export function bad(message: string, parameter: string): HTTPException {
  return mskError('BadRequestException', message, parameter);
}

/** As MSK reads requests. */
export const msk: Manner = { body: (c) => c.req.json().catch(() => ({})), refuse: bad };

const token = z.base64url().transform((given) => Number(Buffer.from(given, 'base64url').toString('utf8'))).pipe(z.int().min(0));
/** Of a query: which page of a list. */
export const paging = z.object({ maxResults: z.coerce.number().pipe(z.int().min(1).max(100)).default(100), nextToken: token.default(0) });

/** One page of a list, as all of MSK's lists are paged. */
export function pageOf<T>({ maxResults, nextToken: from }: z.infer<typeof paging>, items: T[]): { items: T[]; nextToken?: string } {
  const next = from + maxResults;
  return { items: items.slice(from, next), ...(next < items.length && { nextToken: Buffer.from(String(next)).toString('base64url') }) };
}
