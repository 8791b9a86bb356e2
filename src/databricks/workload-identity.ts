import { readFile } from 'node:fs/promises';
import type { WorkloadIdentity } from '../config/config.ts';
import { Failure, messageOf } from '../errors.ts';
import { unreachable } from './failures.ts';

/** Ways to be somebody without a stored secret, by the names of Databricks' unified authentication. The SDK of this version knows none of them. */
const SOURCES = { 'github-oidc': fromGithub, 'env-oidc': fromVariable, 'file-oidc': fromFile };
export type Source = keyof typeof SOURCES;

/** As the SDKs: Databricks takes no token that ends within half a minute. */
const SPARE_MS = 40_000;
const TIMEOUT_MS = 30_000;

export function isWorkloadIdentity(authType: string | undefined): authType is Source {
  return authType !== undefined && authType in SOURCES;
}

/**
 * Access tokens of a service principal (or, without `clientId`, of whom the account's federation policy names) in exchange for a token of the machine that
 * this runs on: GitHub's, one in a variable, one in a file (RFC 8693). Asked for when one is needed, and again before it ends. Failure of kind access where it is refused.
 */
export function workloadTokens({ host, clientId, source, given }: { host: string; clientId: string | undefined; source: Source; given: WorkloadIdentity }, nowMs: () => number = Date.now): () => Promise<string> {
  let known: { token: string; endsAt: number } | undefined;
  return async () => {
    if (known !== undefined && nowMs() < known.endsAt - SPARE_MS) return known.token;
    const endpoint = await tokenEndpoint(host);
    const subject = await SOURCES[source](given, given.audience ?? endpoint);
    const form = {
      ...(clientId === undefined ? {} : { client_id: clientId }),
      scope: 'all-apis',
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: subject,
    };
    const asked = nowMs();
    const { status, body } = await ask(host, endpoint, { method: 'POST', body: new URLSearchParams(form) });
    if (status >= 500 || status === 429) throw new Failure({ code: 'DATABRICKS_BUSY', kind: 'remote', retriable: true, message: `${host} answered ${status} to the exchange of an identity token`, hint: 'Try again in a minute.' });
    if (status >= 300 || typeof body.access_token !== 'string') throw refusedExchange(host, status, body, given.audience ?? endpoint);
    known = { token: body.access_token, endsAt: asked + (typeof body.expires_in === 'number' ? body.expires_in : 3600) * 1000 };
    return known.token;
  };
}

async function fromGithub({ github }: WorkloadIdentity, audience: string): Promise<string> {
  if (github === undefined) throw missing('ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN', 'Give the job of the workflow the permission `id-token: write`.');
  const url = new URL(github.url);
  url.searchParams.set('audience', audience);
  const { status, body } = await ask(url.host, url.href, { headers: { authorization: `Bearer ${github.token.reveal()}` } });
  if (status === 200 && typeof body.value === 'string') return body.value;
  throw new Failure({ code: 'IDENTITY_TOKEN_REFUSED', kind: 'access', retriable: status >= 500 || status === 429, message: `GitHub answered ${status} to the request for an identity token`, hint: 'Give the job of the workflow the permission `id-token: write`.' });
}

async function fromVariable({ variable }: WorkloadIdentity): Promise<string> {
  if (variable.value !== undefined) return variable.value.reveal();
  throw missing(variable.name, `Put the identity token into ${variable.name}, or name its variable in DATABRICKS_OIDC_TOKEN_ENV.`);
}

async function fromFile({ file }: WorkloadIdentity): Promise<string> {
  const hint = 'Name the file that holds the identity token in DATABRICKS_OIDC_TOKEN_FILEPATH.';
  if (file === undefined) throw missing('DATABRICKS_OIDC_TOKEN_FILEPATH', hint);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => Promise.reject(new Failure({ code: 'IDENTITY_TOKEN_MISSING', kind: 'access', message: `${file} cannot be read: ${messageOf(cause)}`, hint, cause })));
  if (text.trim() === '') throw missing(file, hint);
  return text.trim();
}

function missing(what: string, hint: string): Failure {
  return new Failure({ code: 'IDENTITY_TOKEN_MISSING', kind: 'access', message: `DATABRICKS_AUTH_TYPE wants an identity token, and there is none in ${what}`, hint });
}

async function tokenEndpoint(host: string): Promise<string> {
  const { status, body } = await ask(host, `${host}/oidc/.well-known/oauth-authorization-server`, {});
  // The identity token goes there: nowhere but to the workspace's own host.
  if (status === 200 && typeof body.token_endpoint === 'string' && new URL(body.token_endpoint).host === new URL(host).host) return body.token_endpoint;
  throw new Failure({ code: 'DATABRICKS_NO_OIDC', kind: 'remote', retriable: status >= 500 || status === 429, message: `${host} names no token endpoint of its own (HTTP ${status})`, hint: 'Check that DATABRICKS_HOST is the address of a Databricks workspace.' });
}

type Answer = { status: number; body: Record<string, unknown> };

async function ask(host: string, url: string, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    return { status: response.status, body: parsed(text) };
  } catch (error) {
    throw unreachable(host, error, true);
  }
}

function parsed(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function refusedExchange(host: string, status: number, { error, error_description: described }: Record<string, unknown>, audience: string): Failure {
  const said = [error, described].filter((part) => typeof part === 'string').join(': ');
  return new Failure({
    code: 'WORKLOAD_IDENTITY_REFUSED',
    kind: 'access',
    message: `${host} gave no access token for the identity token (${status}${said === '' ? '' : ` ${said}`})`,
    hint: `Compare the federation policy of the service principal DATABRICKS_CLIENT_ID (issuer, subject) with the token; its audience was ${audience} (DATABRICKS_TOKEN_AUDIENCE).`,
  });
}
