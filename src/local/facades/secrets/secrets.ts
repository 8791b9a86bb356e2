import { join } from 'node:path';
import type { Hono } from 'hono';
import { z } from 'zod';
import { openRecords } from '../../records.ts';
import { missing, refusal } from '../refusal.ts';
import { nothing, routeTable } from '../routes.ts';

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
export function secretRoutes(stateDir: string, onRead: OnRead, now: () => number): Hono {
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

  const { app, get, post } = routeTable('/api/2.0/secrets');
  post('/scopes/create', inScope, ({ scope }) => {
    if (scopes.has(scope)) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Scope ${scope} already exists!`);
    scopes.save({ name: scope, secrets: {} });
  });
  post('/scopes/delete', inScope, (given) => scopes.drop(scopeOf(given).name));
  get('/scopes/list', nothing, () => ({ scopes: [...scopes.keys()].sort().map((name) => ({ name, backend_type: 'DATABRICKS' })) }));
  post('/put', newSecret, ({ key, value, ...given }) => {
    const scope = scopeOf(given);
    scopes.save({ ...scope, secrets: { ...scope.secrets, [key]: { value: value.toString('base64'), last_updated_timestamp: now() } } });
  });
  post('/delete', oneSecret, ({ key, ...given }) => {
    const scope = scopeOf(given);
    secretOf(scope, key);
    scopes.save({ ...scope, secrets: Object.fromEntries(Object.entries(scope.secrets).filter(([other]) => other !== key)) });
  });
  get('/list', inScope, (given) => ({ secrets: Object.entries(scopeOf(given).secrets).map(([key, { last_updated_timestamp }]) => ({ key, last_updated_timestamp })) }));
  get('/get', oneSecret, ({ key, ...given }, c) => {
    const { value } = secretOf(scopeOf(given), key);
    onRead(c.get('subject'), Buffer.from(value, 'base64').toString('utf8'));
    return { key, value };
  });
  return app;
}
