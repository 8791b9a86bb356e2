import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { timingSafeEqual } from 'hono/utils/buffer';
import type { AwsCredentials } from '../../servers/aws.ts';
import { mskError } from './errors.ts';

type Signer = ConstructorParameters<typeof SignatureV4>[0];

const CLOCK_SKEW_MS = 5 * 60_000;

/** SHA-256 and its HMAC as @smithy/signature-v4 makes them with `new`. */
function Sha256(secret?: Uint8Array) {
  const hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  return { update: (data: Uint8Array) => void hash.update(data), digest: async () => hash.digest() };
}

/** Throws MSK's 403 unless the request carries a valid Signature Version 4 by `credentials`, made within five minutes of now. */
export async function verifySignature(request: Request, body: Uint8Array, { accessKeyId, secretAccessKey }: AwsCredentials): Promise<void> {
  const given = authorizationOf(request);
  if (!(await timingSafeEqual(given.accessKeyId, accessKeyId))) throw mskError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  if (Math.abs(given.signedAt.getTime() - Date.now()) > CLOCK_SKEW_MS) throw mskError('InvalidSignatureException', "Signature expired: X-Amz-Date is not within 5 minutes of the server's clock.");
  const url = new URL(request.url);
  const headers = Object.fromEntries(given.signedHeaders.map((name) => [name, request.headers.get(name) ?? '']));
  // The signer believes this header; whoever changed the body would not change it.
  if ('x-amz-content-sha256' in headers) headers['x-amz-content-sha256'] = createHash('sha256').update(body).digest('hex');
  const query = Object.fromEntries([...url.searchParams.keys()].map((name) => [name, url.searchParams.getAll(name)]));
  const credentials = { accessKeyId, secretAccessKey: secretAccessKey.reveal() };
  const signer = new SignatureV4({ service: 'kafka', region: given.region, credentials, sha256: Sha256 as unknown as Signer['sha256'], applyChecksum: false });
  const signed = await signer.sign(
    { method: request.method, protocol: 'https:', hostname: url.hostname, path: url.pathname, query, headers, body },
    { signingDate: given.signedAt, signableHeaders: new Set(given.signedHeaders) },
  );
  const expected = /Signature=([0-9a-f]+)/.exec(signed.headers.authorization ?? '')?.[1] ?? '';
  if (given.signedHeaders.includes('host') && (await timingSafeEqual(expected, given.signature))) return;
  throw mskError('InvalidSignatureException', 'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.');
}

function authorizationOf(request: Request) {
  const header = request.headers.get('authorization') ?? '';
  if (!header.startsWith('AWS4-HMAC-SHA256 ')) throw mskError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const [, accessKeyId, day, region, names, signature] =
    /Credential=([^/\s]+)\/(\d{8})\/([^/]+)\/kafka\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/.exec(header) ?? [];
  const stamp = request.headers.get('x-amz-date') ?? '';
  const signedAt = new Date(stamp.replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/, '$1-$2-$3:$4:$5'));
  if (accessKeyId && day && region && names && signature && stamp.startsWith(day) && !Number.isNaN(signedAt.getTime())) return { accessKeyId, region, signedHeaders: names.split(';'), signature, signedAt };
  throw mskError('IncompleteSignatureException', 'The Authorization header or X-Amz-Date is malformed, or the signature is not for service kafka.');
}
