import type { Context } from 'hono';
import { refusal } from '../refusal.ts';

// A client that still sends does not read its answer, so what is too much is read to its end, up to here, and thrown away.
const PATIENCE = 16;

/** The request's body; 413 where it has more than `mostBytes`. */
export async function readBody(c: Context, mostBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of c.req.raw.body ?? []) {
    bytes += part.length;
    if (bytes <= mostBytes) parts.push(part);
    if (bytes > mostBytes * PATIENCE) break;
  }
  if (bytes > mostBytes) throw refusal(413, 'REQUEST_TOO_LARGE', `a request has at most ${mostBytes} bytes`);
  return Buffer.concat(parts);
}
