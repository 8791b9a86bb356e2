import { createHash, createHmac, timingSafeEqual, type Hash, type Hmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import type { AwsCredentials } from '../../servers/aws.ts';
import { mskError } from './errors.ts';

const CLOCK_SKEW_MS = 5 * 60_000;

/** SHA-256 and its HMAC as @smithy/signature-v4 takes them. */
class Sha256 {
  #hash: Hash | Hmac;

  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as Uint8Array);
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
}

/** A signer for one service, by the platform's key pair. */
export function signerFor(service: string, region: string, credentials: AwsCredentials): SignatureV4 {
  const identity = { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey.reveal() };
  return new SignatureV4({ service, region, credentials: identity, sha256: Sha256, applyChecksum: false });
}

/** Throws MSK's 403 unless the request carries a valid Signature Version 4 by `credentials`, made within five minutes of now. */
export async function verifySignature(request: Request, body: Uint8Array, credentials: AwsCredentials): Promise<void> {
  const given = authorizationOf(request);
  if (!sameText(given.accessKeyId, credentials.accessKeyId)) throw mskError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  if (Math.abs(given.signedAt.getTime() - Date.now()) > CLOCK_SKEW_MS) throw mskError('InvalidSignatureException', 'Signature expired: X-Amz-Date is not within 5 minutes of the server\'s clock.');
  const url = new URL(request.url);
  const headers = Object.fromEntries(given.signedHeaders.map((name) => [name, request.headers.get(name) ?? '']));
  // The signer believes this header; whoever changed the body would not change it.
  if ('x-amz-content-sha256' in headers) headers['x-amz-content-sha256'] = createHash('sha256').update(body).digest('hex');
  const query: Record<string, string[]> = {};
  for (const [name, value] of url.searchParams) (query[name] ??= []).push(value);
  const signed = await signerFor('kafka', given.region, credentials).sign(
    { method: request.method, protocol: 'https:', hostname: url.hostname, path: url.pathname, query, headers, body },
    { signingDate: given.signedAt, signableHeaders: new Set(given.signedHeaders) },
  );
  const expected = /Signature=([0-9a-f]+)/.exec(signed.headers.authorization ?? '')?.[1] ?? '';
  if (given.signedHeaders.includes('host') && sameText(expected, given.signature)) return;
  throw mskError('InvalidSignatureException', 'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.');
}

function authorizationOf(request: Request) {
  const header = request.headers.get('authorization') ?? '';
  if (!header.startsWith('AWS4-HMAC-SHA256 ')) throw mskError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const [, accessKeyId, day, region, names, signature] =
    /Credential=([^/\s]+)\/(\d{8})\/([^/]+)\/kafka\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/.exec(header) ?? [];
  const stamp = request.headers.get('x-amz-date') ?? '';
  const [, year, month, date, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp) ?? [];
  const signedAt = new Date(`${year}-${month}-${date}T${hour}:${minute}:${second}Z`);
  if (!accessKeyId || !day || !region || !names || !signature || !stamp.startsWith(day) || Number.isNaN(signedAt.getTime()))
    throw mskError('IncompleteSignatureException', 'The Authorization header or X-Amz-Date is malformed, or the signature is not for service kafka.');
  return { accessKeyId, region, signedHeaders: names.split(';'), signature, signedAt };
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
