import { Failure, messageOf, type FailureFacts } from '../errors.ts';

const NO_CREDENTIALS = new Set(['CredentialsProviderError', 'TokenProviderError', 'ProviderError']);
/** Whoever asks is not who they say, or no longer. */
const WRONG_CREDENTIALS = new Set([
  'UnrecognizedClientException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'SignatureDoesNotMatch',
  'IncompleteSignatureException',
  'IncompleteSignature',
  'MissingAuthenticationTokenException',
  'MissingAuthenticationToken',
  'ExpiredTokenException',
  'ExpiredToken',
  'UnauthorizedException',
  'AuthFailure',
]);
const NOT_ALLOWED = new Set(['AccessDeniedException', 'AccessDenied', 'ForbiddenException', 'UnauthorizedOperation', 'KMSAccessDeniedException']);
const BUSY = new Set(['TooManyRequestsException', 'ThrottlingException', 'Throttling', 'LimitExceededException', 'ServiceUnavailableException']);
const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EPIPE', 'TimeoutError']);
const TLS = /^(CERT_|ERR_TLS|ERR_SSL|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO)/;

const LOG_IN = 'Give the AWS SDK credentials for this account: `aws sso login`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for target local, start it with `streamgauge local`.';

/** The SDK's name of an error, which is the service's code: `NotFoundException`; empty for anything else that was thrown. */
export function awsCode(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** What the AWS SDK threw while `doing` something (`describing cluster x`), as a Failure by class and code. */
export function awsFailure(error: unknown, doing: string): Failure {
  if (error instanceof Failure) return error;
  const name = awsCode(error);
  const codes = [name, ...networkCodes(error)];
  const facts = (known: Omit<FailureFacts, 'message' | 'cause'>, said = messageOf(error)): Failure => new Failure({ ...known, message: `AWS: ${doing}: ${said}`, cause: error });
  if (NO_CREDENTIALS.has(name)) return facts({ code: 'AWS_CREDENTIALS_MISSING', kind: 'access', hint: LOG_IN }, 'no credentials were found in the default chain');
  if (WRONG_CREDENTIALS.has(name)) return facts({ code: 'AWS_CREDENTIALS_REFUSED', kind: 'access', hint: LOG_IN });
  if (NOT_ALLOWED.has(name)) return facts({ code: 'AWS_ACCESS_DENIED', kind: 'access', hint: 'Ask for the IAM permission that the message names, or use another identity: aws sts get-caller-identity' });
  if (codes.some((code) => TLS.test(code)))
    return facts({ code: 'AWS_CERTIFICATE_UNTRUSTED', kind: 'remote', hint: "Name the endpoint's certificate authority: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem" });
  if (codes.some((code) => NETWORK.has(code)))
    return facts({ code: 'AWS_UNREACHABLE', kind: 'remote', retriable: true, hint: 'Check the network, the region and AWS_ENDPOINT_URL_*; for target local, start it with `streamgauge local`.' }, codes.find((code) => NETWORK.has(code)) === 'TimeoutError' ? messageOf(error) : rootMessage(error));
  if (BUSY.has(name)) return facts({ code: 'AWS_BUSY', kind: 'remote', retriable: true, hint: 'Try again in a minute: AWS is limiting requests.' });
  return facts({ code: name.endsWith('Exception') ? `AWS_${screaming(name.replace(/Exception$/, ''))}` : 'AWS_FAILED', kind: 'remote' });
}

/** Awaits a call to AWS; what it throws becomes a Failure that says what was being done. */
export async function translated<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw awsFailure(error, doing);
  }
}

/** Awaits a call to AWS; undefined where the service says that the thing does not exist. */
export async function ifThere<T>(doing: string, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (awsCode(error) === 'NotFoundException' || awsCode(error) === 'ResourceNotFoundException') return undefined;
    throw awsFailure(error, doing);
  }
}

/** How the services say that there is one of this name already: MSK, KMS, Secrets Manager. */
const ALREADY_THERE = new Set(['ConflictException', 'AlreadyExistsException', 'ResourceExistsException']);

/** Awaits a call to AWS that makes something; undefined where somebody else has made it meanwhile, who then decides what it is. */
export async function unlessThere<T>(doing: string, call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (ALREADY_THERE.has(awsCode(error))) return undefined;
    throw awsFailure(error, doing);
  }
}

/** The error's own code, and those below it: a refused connection is an AggregateError of one refusal an address. */
function networkCodes(error: unknown): string[] {
  if (typeof error !== 'object' || error === null) return [];
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  const below = [cause, ...(Array.isArray(errors) ? errors : [])].flatMap(networkCodes);
  return typeof code === 'string' ? [code, ...below] : below;
}

function rootMessage(error: unknown): string {
  const errors = (error as { errors?: unknown }).errors;
  return Array.isArray(errors) && errors.length > 0 ? errors.map(messageOf).join('; ') : messageOf(error);
}

function screaming(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();
}
