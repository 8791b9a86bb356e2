import { join } from 'node:path';
import { Hono } from 'hono';
import { z } from 'zod';
import { openRecords } from '../../records.ts';
import { bodyOf, missing, queryOf, refusal } from '../refusal.ts';

type Scope = { name: string; secrets: Record<string, { value: string; last_updated_timestamp: number }> };

/** Told of each value before it is given out, so that the reader's output can be redacted. */
export type OnRead = (subject: string, value: string) => void;

const name = z.string().regex(/^[\w@.-]{1,128}$/, 'at most 128 letters, digits, and the characters _ - @ .').refine((given) => given !== '__proto__');
const inScope = z.object({ scope: name });
const oneSecret = inScope.extend({ key: name });
const newSecret = oneSecret
  .extend({ string_value: z.string().optional(), bytes_value: z.string().optional() })
  .refine((given) => (given.string_value === undefined) !== (given.bytes_value === undefined), 'Give either string_value or bytes_value.')
  .transform((given) => ({ ...given, value: Buffer.from(given.string_value ?? given.bytes_value ?? '', given.bytes_value === undefined ? 'utf8' : 'base64') }))
  .refine(({ value }) => value.length <= 128 * 1024, 'The secret is larger than 131072 bytes.');

/** Secret scopes; values are kept base64 in files of mode 0600. */
export function secretRoutes(stateDir: string, onRead: OnRead, now: () => number): Hono<{ Variables: { subject: string } }> {
  const scopes = openRecords(join(stateDir, 'secrets'), (scope: Scope) => scope.name);
  const scopeOf = (given: { scope: string }): Scope => {
    const scope = scopes.get(given.scope);
    if (!scope) throw missing(`Scope ${given.scope} does not exist!`);
    return scope;
  };
  const secretOf = ({ name, secrets }: Scope, key: string) => {
    const secret = secrets[key];
    if (!secret) throw missing(`Secret does not exist with scope: ${name} and key: ${key}`);
    return secret;
  };

  const app = new Hono<{ Variables: { subject: string } }>().basePath('/api/2.0/secrets');
  app.post('/scopes/create', async (c) => {
    const { scope } = await bodyOf(c, inScope);
    if (scopes.has(scope)) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Scope ${scope} already exists!`);
    scopes.save({ name: scope, secrets: {} });
    return c.json({});
  });
  app.post('/scopes/delete', async (c) => {
    scopes.drop(scopeOf(await bodyOf(c, inScope)).name);
    return c.json({});
  });
  app.get('/scopes/list', (c) => c.json({ scopes: [...scopes.keys()].sort().map((name) => ({ name, backend_type: 'DATABRICKS' })) }));
  app.post('/put', async (c) => {
    const { key, value, ...given } = await bodyOf(c, newSecret);
    const scope = scopeOf(given);
    scopes.save({ ...scope, secrets: { ...scope.secrets, [key]: { value: value.toString('base64'), last_updated_timestamp: now() } } });
    return c.json({});
  });
  app.post('/delete', async (c) => {
    const { key, ...given } = await bodyOf(c, oneSecret);
    const scope = scopeOf(given);
    secretOf(scope, key);
    scopes.save({ ...scope, secrets: Object.fromEntries(Object.entries(scope.secrets).filter(([other]) => other !== key)) });
    return c.json({});
  });
  app.get('/list', (c) => {
    const { secrets } = scopeOf(queryOf(c, inScope));
    return c.json({ secrets: Object.entries(secrets).map(([key, { last_updated_timestamp }]) => ({ key, last_updated_timestamp })) });
  });
  app.get('/get', (c) => {
    const { key, ...given } = queryOf(c, oneSecret);
    const { value } = secretOf(scopeOf(given), key);
    onRead(c.get('subject'), Buffer.from(value, 'base64').toString('utf8'));
    return c.json({ key, value });
  });
  return app;
}
