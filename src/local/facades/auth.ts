import { createHmac } from 'node:crypto';
import { Hono } from 'hono';
import type { MiddlewareHandler } from 'hono';
import { sign, verify } from 'hono/jwt';
import { auth as basicOf } from 'hono/utils/basic-auth';
import { timingSafeEqual } from 'hono/utils/buffer';
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
};

/** Who may come in. Tokens are signed, not stored: two of these with the same options accept each other's tokens. */
export type Auth = {
  /** `/.well-known` and `/oidc`: discovery and the token endpoint, all without authentication. */
  app: Hono;
  /** 401 without a token, 403 with a wrong one; later handlers find who called in `c.get('subject')`. */
  guard: MiddlewareHandler<{ Variables: { subject: string } }>;
  /** A token for `subject` that expires. */
  mint(subject: string, seconds: number): Promise<string>;
};

const accessTokenSeconds = 3600;

/** The one federation policy that there is: identity tokens for the token endpoint, signed (HS256) with this key, are the service principal's. */
export function federationKey(token: Secret): string {
  return createHmac('sha256', token.reveal()).update('workload identity').digest('hex');
}

/** Personal access token, OAuth M2M and workload identity for REST and Thrift alike. */
export function createAuth(options: AuthOptions): Auth {
  const key = options.token.reveal();
  const mint = (subject: string, seconds: number) => sign({ sub: subject, exp: Math.floor(Date.now() / 1000) + seconds }, key, 'HS256');

  async function subjectOf(token: string): Promise<string | undefined> {
    if (await timingSafeEqual(token, key)) return 'user';
    return verify(token, key, 'HS256').then(({ sub }) => String(sub), () => undefined);
  }

  const guard: Auth['guard'] = async (c, next) => {
    const token = /^Bearer +(\S+) *$/i.exec(c.req.header('authorization') ?? '')?.[1];
    if (token === undefined) throw refusal(401, 'UNAUTHENTICATED', 'Credential was not sent or was of an unsupported type for this API.', { 'www-authenticate': 'Bearer' });
    const subject = await subjectOf(token);
    if (subject === undefined) throw refusal(403, 'PERMISSION_DENIED', 'Invalid access token.');
    c.set('subject', subject);
    await next();
  };
  return { app: discovery(options, mint), guard, mint };
}

function discovery({ baseUrl, workspaceId, client, token }: AuthOptions, mint: Auth['mint']): Hono {
  const app = new Hono();
  const issuer = `${baseUrl}/oidc`;
  app.get('/.well-known/databricks-config', (c) => c.json({ oidc_endpoint: issuer, workspace_id: workspaceId, account_id: 'local', cloud: 'AWS' }));
  app.get('/oidc/.well-known/oauth-authorization-server', (c) => c.json({ issuer, authorization_endpoint: `${issuer}/v1/authorize`, token_endpoint: `${issuer}/v1/token` }));
  app.post('/oidc/v1/token', async (c) => {
    const form = new URLSearchParams(await c.req.text());
    const granted = async (to: string) => c.json({ access_token: await mint(to, accessTokenSeconds), token_type: 'Bearer', expires_in: accessTokenSeconds, scope: form.get('scope') ?? 'all-apis' }, 200, { 'cache-control': 'no-store' });
    if (form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange') {
      const claims = await verify(form.get('subject_token') ?? '', federationKey(token), { alg: 'HS256', aud: `${issuer}/v1/token` }).catch(() => undefined);
      const isWhole = form.get('subject_token_type') === 'urn:ietf:params:oauth:token-type:jwt' && typeof claims?.sub === 'string' && typeof claims.exp === 'number';
      if (client && isWhole && (form.get('client_id') ?? client.id) === client.id) return granted(client.id);
      return c.json({ error: 'invalid_request', error_description: 'no federation policy of the service principal fits the token' }, 400);
    }
    const basic = basicOf(c.req.raw);
    const [id, secret] = basic ? [formDecoded(basic.username), formDecoded(basic.password)] : [form.get('client_id') ?? '', form.get('client_secret') ?? ''];
    // Both are compared whatever the first says: the answer's time must not tell which was wrong.
    const right = await Promise.all([timingSafeEqual(id, client?.id ?? ''), timingSafeEqual(secret, client?.secret.reveal() ?? '')]);
    if (!client || right.includes(false)) return c.json({ error: 'invalid_client', error_description: 'Client authentication failed' }, 401);
    if (form.get('grant_type') !== 'client_credentials') return c.json({ error: 'unsupported_grant_type' }, 400);
    return granted(id);
  });
  return app;
}

/** RFC 6749 escapes both halves of Basic as form values; a stray `%` of a client that does not is left alone. */
function formDecoded(part: string): string {
  return new URLSearchParams(`part=${part.replaceAll('&', '%26')}`).get('part') ?? '';
}
