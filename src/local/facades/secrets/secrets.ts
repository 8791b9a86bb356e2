import { join } from 'node:path';
import { Hono } from 'hono';
import { openRecords } from '../disk.ts';
import { invalid, jsonBody, missing, refusal, text } from '../refusal.ts';

type Scope = { name: string; secrets: Record<string, { value: string; last_updated_timestamp: number }> };

/** Told of each value before it is given out, so that the reader's output can be redacted. */
export type OnRead = (subject: string, value: string) => void;

const base = '/api/2.0/secrets';
const valueBytes = 128 * 1024;

/** Secret scopes; values are kept base64 in files of mode 0600. */
export function secretRoutes(stateDir: string, onRead: OnRead, now: () => number): Hono<{ Variables: { subject: string } }> {
  const records = openRecords<Scope>(join(stateDir, 'secrets'));
  const scopes = new Map(records.all().map((scope) => [scope.name, scope]));

  function scopeOf(from: Record<string, unknown>): Scope {
    const name = text(from, 'scope');
    const scope = scopes.get(name);
    if (!scope) throw missing(`Scope ${name} does not exist!`);
    return scope;
  }

  function secretOf(scope: Scope, key: string) {
    const secret = scope.secrets[key];
    if (!secret) throw missing(`Secret does not exist with scope: ${scope.name} and key: ${key}`);
    return secret;
  }

  const app = new Hono<{ Variables: { subject: string } }>();
  app.post(`${base}/scopes/create`, async (c) => {
    const name = validName(text(await jsonBody(c), 'scope'));
    if (scopes.has(name)) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Scope ${name} already exists!`);
    const scope: Scope = { name, secrets: Object.create(null) as Scope['secrets'] };
    records.save(name, scope);
    scopes.set(name, scope);
    return c.json({});
  });
  app.post(`${base}/scopes/delete`, async (c) => {
    const { name } = scopeOf(await jsonBody(c));
    records.drop(name);
    scopes.delete(name);
    return c.json({});
  });
  app.get(`${base}/scopes/list`, (c) => c.json({ scopes: [...scopes.keys()].sort().map((name) => ({ name, backend_type: 'DATABRICKS' })) }));
  app.post(`${base}/put`, async (c) => {
    const body = await jsonBody(c);
    const scope = scopeOf(body);
    scope.secrets[validName(text(body, 'key'))] = { value: valueOf(body), last_updated_timestamp: now() };
    records.save(scope.name, scope);
    return c.json({});
  });
  app.post(`${base}/delete`, async (c) => {
    const body = await jsonBody(c);
    const scope = scopeOf(body);
    const key = text(body, 'key');
    secretOf(scope, key);
    delete scope.secrets[key];
    records.save(scope.name, scope);
    return c.json({});
  });
  app.get(`${base}/list`, (c) => {
    const { secrets } = scopeOf(c.req.query());
    return c.json({ secrets: Object.entries(secrets).map(([key, { last_updated_timestamp }]) => ({ key, last_updated_timestamp })) });
  });
  app.get(`${base}/get`, (c) => {
    const key = text(c.req.query(), 'key');
    const { value } = secretOf(scopeOf(c.req.query()), key);
    onRead(c.get('subject'), Buffer.from(value, 'base64').toString('utf8'));
    return c.json({ key, value });
  });
  return app;
}

function validName(name: string): string {
  if (!/^[\w@.-]{1,128}$/.test(name) || name === '__proto__') {
    throw invalid(`${name} is not a valid name: at most 128 letters, digits, and the characters _ - @ .`);
  }
  return name;
}

function valueOf(body: Record<string, unknown>): string {
  const { string_value: asText, bytes_value: asBytes } = body;
  if ((typeof asText === 'string') === (typeof asBytes === 'string')) throw invalid('Give either string_value or bytes_value.');
  const value = typeof asText === 'string' ? Buffer.from(asText, 'utf8') : Buffer.from(asBytes as string, 'base64');
  if (value.length > valueBytes) throw invalid(`The secret is larger than ${valueBytes} bytes.`);
  return value.toString('base64');
}
