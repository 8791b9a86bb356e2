import { Failure, messageOf } from '../errors.ts';

/** What a Databricks service answered with, as far as an error needs it. */
export type Refusal = {
  host: string;
  /** The call, as `GET /api/2.2/jobs/get`; never with its query, which may hold names. */
  call: string;
  status: number;
  errorCode?: string;
  message?: string;
  retryAfterMs?: number;
};

/** A Failure that knows how long the server asked to be left alone; `poll.ts` reads it. */
export type HttpFailure = Failure & { status: number; errorCode?: string; retryAfterMs?: number };

const ACCESS_HINT = 'Set DATABRICKS_HOST and DATABRICKS_TOKEN for this workspace, or log in with `databricks auth login`.';

/** What was refused, as a Failure: 401/403 access, 404 not found, 429 and 5xx remote; retriable only where the server did not take the call. */
export function refused(refusal: Refusal, idempotent: boolean): HttpFailure {
  const { host, call, status, errorCode, retryAfterMs } = refusal;
  const said = refusal.message ? `: ${refusal.message}` : '';
  const turnedAway = status === 429 || status === 503;
  const facts = { message: `${host} answered ${status}${errorCode ? ` ${errorCode}` : ''} to ${call}${said}`, retriable: turnedAway || (idempotent && [500, 502, 504].includes(status)) };
  const failure =
    status === 401
      ? new Failure({ code: 'DATABRICKS_UNAUTHENTICATED', kind: 'access', hint: ACCESS_HINT, ...facts })
      : status === 403
        ? new Failure({ code: 'DATABRICKS_FORBIDDEN', kind: 'access', hint: `Ask an administrator of ${host} for the permission, or use another identity: ${ACCESS_HINT}`, ...facts })
        : new Failure({ code: codeOf(status, errorCode), kind: 'remote', hint: turnedAway ? 'Try again in a minute: the workspace is limiting requests.' : undefined, ...facts });
  return Object.assign(failure, { status, errorCode, retryAfterMs });
}

function codeOf(status: number, errorCode: string | undefined): string {
  if (status === 404 || errorCode === 'RESOURCE_DOES_NOT_EXIST') return 'DATABRICKS_NOT_FOUND';
  if (status === 429 || status === 503) return 'DATABRICKS_BUSY';
  return errorCode ?? `DATABRICKS_HTTP_${status}`;
}

/** Codes of a connection that was never made: nothing reached the server, so trying again is always safe. */
const NEVER_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);
const TLS = /^(CERT_|ERR_TLS|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_SSL)/;

/** A connection that failed, as a Failure that names the host; retriable where the call cannot have been done twice. */
export function unreachable(host: string, error: unknown, idempotent: boolean): Failure {
  const code = networkCode(error);
  if (code !== undefined && TLS.test(code)) {
    return new Failure({
      code: 'DATABRICKS_TLS',
      kind: 'remote',
      message: `the certificate of ${host} is not trusted (${code})`,
      hint: 'Name the authority that signed it: NODE_EXTRA_CA_CERTS=/path/to/ca.pem.',
      cause: error,
    });
  }
  return new Failure({
    code: 'DATABRICKS_UNREACHABLE',
    kind: 'remote',
    message: `cannot reach Databricks at ${host}${code === undefined ? '' : ` (${code})`}`,
    hint: 'Check DATABRICKS_HOST and the network; for target local, start it with `streamgauge local`.',
    retriable: idempotent || (code !== undefined && NEVER_CONNECTED.has(code)),
    cause: error,
  });
}

/** The system's code of a failed connection, looked for along the causes: fetch wraps the real one. */
export function networkCode(error: unknown): string | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 6; at = at.cause, depth += 1) {
    if (at instanceof AggregateError && at.errors.length > 0) return networkCode(at.errors[0]);
    if ('code' in at && typeof at.code === 'string') return at.code;
  }
  return undefined;
}

/** The SDK could not find credentials (or its profile): an access Failure, with the SDK's own explanation as cause. */
export function noCredentials(error: unknown): Failure {
  return new Failure({
    code: 'DATABRICKS_NOT_CONFIGURED',
    kind: 'access',
    message: 'no Databricks workspace and credentials were found for this target',
    hint: ACCESS_HINT,
    cause: new Error(firstSentence(messageOf(error))),
  });
}

/** The SDK appends its whole configuration to the message, masked only in part: keep the first sentence. */
function firstSentence(message: string): string {
  return message.split(/\. (?=Config:|Env:)/)[0] ?? message;
}

/** True for the Failure of something that does not exist: the one that callers turn into "nothing there". */
export function isNotFound(error: unknown): boolean {
  return error instanceof Failure && error.code === 'DATABRICKS_NOT_FOUND';
}

/** True for the Failure of creating what exists already. */
export function isAlreadyThere(error: unknown): boolean {
  return error instanceof Failure && 'errorCode' in error && (error.errorCode === 'RESOURCE_ALREADY_EXISTS' || error.errorCode === 'ALREADY_EXISTS');
}
