import type { Config as SdkConfig } from '@databricks/sdk-experimental';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { retry } from '../poll.ts';
import { noCredentials, refused, unreachable } from './failures.ts';
import { isWorkloadIdentity, workloadTokens } from './workload-identity.ts';
import { identitiesIn, isApplicationId, type Identities } from './identity.ts';

/** One REST call; `body` is sent as JSON. */
export type Call = {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** Sent as they are, in place of `body`. */
  bytes?: Buffer;
  /** The answer's body as bytes instead of JSON. */
  raw?: boolean;
  /** True where doing it twice changes nothing, so that a lost answer may be asked for again; GET always is. */
  idempotent?: boolean;
};

/** A connected workspace: who to talk to, and how to prove who is asking. */
export type Workspace = {
  /** `https://host[:port]`, without a slash at the end. */
  host: string;
  /** Headers of the SDK's unified authentication, fresh for each use. */
  authorization(): Promise<Record<string, string>>;
  /** The service principal that this is, by its application id, which is its user name; undefined where only the workspace knows who it is, or its display name is needed. */
  principal?(): Promise<string | undefined>;
  /** What is remembered of who this is; undefined where nothing shall be. */
  identities?: Identities;
  /** The JSON object (or, with `raw`, a Buffer) that the workspace answers; throws a Failure otherwise. */
  request<T>(call: Call): Promise<T>;
  /** The same workspace for calls that another signal ends: to tidy up after an interrupt. */
  withSignal(signal: AbortSignal | undefined): Workspace;
};

export type ConnectOptions = {
  signal?: AbortSignal;
  /** Tries of one call, the first included. */
  attempts?: number;
  firstPauseMs?: number;
  timeoutMs?: number;
};

const RETRY_AFTER_LIMIT_MS = 60_000;

/**
 * Resolves host and credentials through the Databricks SDK (environment, profiles, OAuth) and returns a workspace to call.
 * Only its authentication is used: version 0.17's own HTTP layer accepts any TLS certificate unless told otherwise, ignores
 * Retry-After and does not retry 503.
 */
export async function connect(databricks: Config['databricks'], options: ConnectOptions = {}): Promise<Workspace> {
  const sdk = await resolve(databricks);
  const host = (await sdk.getHost().catch((error: unknown) => Promise.reject(noCredentials(error)))).origin;
  const authorization = async (): Promise<Record<string, string>> => {
    const headers = new Headers();
    await sdk.authenticate(headers).catch((error: unknown) => Promise.reject(authenticationFailed(host, error)));
    return Object.fromEntries(headers);
  };
  // A service principal by its id: its tokens are others every hour.
  const credential = async (): Promise<string> => {
    const headers = JSON.stringify(await authorization());
    return `${host} ${sdk.authType === 'pat' || sdk.clientId === undefined ? headers : sdk.clientId}`;
  };
  const principal = async (): Promise<string | undefined> => {
    if (databricks.knownById !== true || !isApplicationId(sdk.clientId)) return undefined;
    // Only by authenticating the SDK finds out which way it does.
    await authorization();
    return sdk.authType === 'oauth-m2m' || isWorkloadIdentity(sdk.authType) ? sdk.clientId : undefined;
  };
  const identities = databricks.identityFile === undefined ? undefined : identitiesIn(databricks.identityFile, credential);
  const withSignal = (signal: AbortSignal | undefined): Workspace => ({
    host,
    authorization,
    principal,
    identities,
    withSignal,
    request: <T>(call: Call) => send<T>({ host, authorization, call, options: { ...options, signal } }).catch(async (error: unknown) => {
      if (error instanceof Failure && error.kind === 'access') await identities?.forget();
      throw error;
    }),
  });
  return withSignal(options.signal);
}

async function resolve(databricks: Config['databricks']): Promise<SdkConfig> {
  const { Config: UnifiedConfig } = await import('@databricks/sdk-experimental');
  try {
    const named = { ...(databricks.host === undefined ? {} : { host: databricks.host }), ...(databricks.profile === undefined ? {} : { profile: databricks.profile }) };
    const sdk = new UnifiedConfig(named);
    await sdk.ensureResolved();
    const { authType: source, clientId } = sdk as { authType?: string; clientId?: string };
    const given = databricks.workloadIdentity;
    if (isWorkloadIdentity(source) && given !== undefined) {
      const tokens = workloadTokens({ host: (await sdk.getHost()).origin, clientId, source, given });
      // The SDK's type knows only its own ways; it takes any.
      sdk.credentials = { name: source as never, configure: async () => async (headers) => headers.set('authorization', `Bearer ${await tokens()}`) };
    }
    return sdk;
  } catch (error) {
    throw noCredentials(error);
  }
}

function authenticationFailed(host: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const offline = unreachable(host, error, true);
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('E') ? offline : noCredentials(error);
}

type Sending = { host: string; authorization: Workspace['authorization']; call: Call; options: ConnectOptions };

async function send<T>({ host, authorization, call, options }: Sending): Promise<T> {
  const { signal, attempts = 5, firstPauseMs = 500 } = options;
  return retry({ times: attempts, firstPauseMs, signal }, async () => {
    signal?.throwIfAborted();
    const headers = { ...(await authorization()), 'user-agent': 'streamgauge/0.1', ...(call.bytes !== undefined ? { 'content-type': 'application/octet-stream' } : call.body === undefined ? {} : { 'content-type': 'application/json' }) };
    return once<T>(host, call, headers, options);
  });
}

async function once<T>(host: string, call: Call, headers: Record<string, string>, { signal, timeoutMs = 60_000 }: ConnectOptions): Promise<T> {
  const idempotent = call.method === 'GET' || call.idempotent === true;
  const limits = [AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])];
  let status: number;
  let bytes: Buffer;
  let retryAfter: string | null;
  try {
    const response = await fetch(urlOf(host, call), {
      method: call.method,
      headers,
      body: call.bytes === undefined ? (call.body === undefined ? undefined : JSON.stringify(call.body)) : new Uint8Array(call.bytes),
      signal: AbortSignal.any(limits),
      // A login page behind a redirect is not an API answer, and the token must not follow it to another host.
      redirect: 'manual',
    });
    status = response.status;
    retryAfter = response.headers.get('retry-after');
    bytes = Buffer.from(await response.arrayBuffer());
  } catch (error) {
    signal?.throwIfAborted();
    throw unreachable(host, error, idempotent);
  }
  if (status >= 300) {
    throw refused({ host, call: `${call.method} ${call.path}`, status, ...errorBody(bytes), retryAfterMs: retryAfterMs(retryAfter) }, idempotent);
  }
  return (call.raw ? bytes : parsed(host, call, bytes)) as T;
}

function urlOf(host: string, { path, query = {} }: Call): URL {
  const url = new URL(path, host);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
  return url;
}

function parsed(host: string, call: Call, bytes: Buffer): unknown {
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new Failure({
      code: 'DATABRICKS_NOT_JSON',
      kind: 'remote',
      message: `${host} answered ${call.method} ${call.path} with something that is not JSON`,
      hint: 'Check that DATABRICKS_HOST is the address of a Databricks workspace.',
      cause: error,
    });
  }
}

function errorBody(bytes: Buffer): { errorCode?: string; message?: string } {
  try {
    const body = JSON.parse(bytes.toString('utf8')) as { error_code?: unknown; message?: unknown; error?: unknown };
    const message = body.message ?? body.error;
    return {
      ...(typeof body.error_code === 'string' ? { errorCode: body.error_code } : {}),
      ...(typeof message === 'string' ? { message } : {}),
    };
  } catch {
    return {};
  }
}

/** Retry-After as seconds or as a date, in milliseconds; at most a minute, so that a run of them stays bounded. */
export function retryAfterMs(header: string | null, nowMs: number = Date.now()): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const ms = /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), RETRY_AFTER_LIMIT_MS);
}
