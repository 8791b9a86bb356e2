import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { Hono } from 'hono';
import type { MiddlewareHandler } from 'hono';
import type { Secret } from '../../errors.ts';
import { refusal } from './refusal.ts';

export type AuthOptions = {
  /** `https://localhost:8443`, without a slash at the end. */
  baseUrl: string;
  workspaceId: string;
  /** The personal access token; it also keys the signature of every token given out here. */
  token: Secret;
  /** The service principal of OAuth M2M; without it `/oidc/v1/token` refuses everybody. */
  client?: { id: string; secret: Secret };
  now?: () => number;
};

export type Verdict = { kind: 'ok'; subject: string } | { kind: 'missing' } | { kind: 'wrong' };

/** Who may come in. Tokens are signed, not stored: two of these with the same options accept each other's tokens. */
export type Auth = {
  /** `/.well-known` and `/oidc`: discovery and the token endpoint, all without authentication. */
  app: Hono;
  /** 401 without a token, 403 with a wrong one; later handlers find who called in `c.get('subject')`. */
  guard: MiddlewareHandler<{ Variables: { subject: string } }>;
  /** Judges an `Authorization` header. */
  check(authorization: string | undefined): Verdict;
  /** A token for `subject` that expires. */
  mint(subject: string, seconds: number): string;
};

const accessTokenSeconds = 3600;

/** Personal access token and OAuth M2M for REST and Thrift alike. */
export function createAuth(options: AuthOptions): Auth {
  const now = options.now ?? Date.now;
  const sign = (claims: string) => createHmac('sha256', options.token.reveal()).update(claims).digest('base64url');

  function mint(subject: string, seconds: number): string {
    const claims = Buffer.from(JSON.stringify({ sub: subject, exp: now() + seconds * 1000 })).toString('base64url');
    return `${claims}.${sign(claims)}`;
  }

  function check(authorization: string | undefined): Verdict {
    const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return { kind: 'missing' };
    if (sameText(token, options.token.reveal())) return { kind: 'ok', subject: 'user' };
    const [claims, signature] = token.split('.');
    if (!claims || !signature || !sameText(signature, sign(claims))) return { kind: 'wrong' };
    const { sub, exp } = JSON.parse(Buffer.from(claims, 'base64url').toString('utf8')) as { sub: string; exp: number };
    return exp > now() ? { kind: 'ok', subject: sub } : { kind: 'wrong' };
  }

  const guard: Auth['guard'] = async (c, next) => {
    const verdict = check(c.req.header('authorization'));
    if (verdict.kind === 'missing') {
      throw refusal(401, 'UNAUTHENTICATED', 'Credential was not sent or was of an unsupported type for this API.', { 'www-authenticate': 'Bearer' });
    }
    if (verdict.kind === 'wrong') throw refusal(403, 'PERMISSION_DENIED', 'Invalid access token.');
    c.set('subject', verdict.subject);
    await next();
  };

  return { app: discovery(options, mint), guard, check, mint };
}

function discovery(options: AuthOptions, mint: Auth['mint']): Hono {
  const app = new Hono();
  const issuer = `${options.baseUrl}/oidc`;
  app.get('/.well-known/databricks-config', (c) =>
    c.json({ oidc_endpoint: issuer, workspace_id: options.workspaceId, account_id: 'local', cloud: 'AWS' }));
  app.get('/oidc/.well-known/oauth-authorization-server', (c) =>
    c.json({ issuer, authorization_endpoint: `${issuer}/v1/authorize`, token_endpoint: `${issuer}/v1/token` }));
  app.post('/oidc/v1/token', async (c) => {
    const form = new URLSearchParams(await c.req.text());
    const [id, secret] = clientCredentials(c.req.header('authorization'), form);
    const known = options.client;
    // Both are compared whatever the first says: the answer's time must not tell which was wrong.
    const right = [sameText(id, known?.id ?? ''), sameText(secret, known?.secret.reveal() ?? '')];
    if (!known || right.includes(false)) {
      return c.json({ error: 'invalid_client', error_description: 'Client authentication failed' }, 401);
    }
    if (form.get('grant_type') !== 'client_credentials') return c.json({ error: 'unsupported_grant_type' }, 400);
    const answer = { access_token: mint(id, accessTokenSeconds), token_type: 'Bearer', expires_in: accessTokenSeconds, scope: form.get('scope') ?? 'all-apis' };
    return c.json(answer, 200, { 'cache-control': 'no-store' });
  });
  return app;
}

function clientCredentials(authorization: string | undefined, form: URLSearchParams): [id: string, secret: string] {
  const basic = /^Basic +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (basic === undefined) return [form.get('client_id') ?? '', form.get('client_secret') ?? ''];
  const [id = '', ...rest] = Buffer.from(basic, 'base64').toString('utf8').split(':');
  return [formDecoded(id), formDecoded(rest.join(':'))];
}

/** RFC 6749 escapes both halves of Basic as form values; a stray `%` of a client that does not is left alone. */
function formDecoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
