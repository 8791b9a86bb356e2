import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/errors.ts';
import { createAuth } from '../../../src/local/facades/auth.ts';
import { faults } from '../../../src/local/facades/faults.ts';

function open() {
  const { middleware, admin } = faults(createAuth({ baseUrl: 'https://x', workspaceId: '1', token: new Secret('t') }).guard);
  const app = new Hono();
  app.use(middleware);
  app.route('/', admin);
  app.all('*', (c) => c.text('real'));
  const rules = (method: string, body?: unknown, authorization = 'Bearer t') =>
    app.request('/__admin/faults', { method, headers: { authorization }, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const ask = async (path: string, method = 'GET') => {
    const response = await app.request(path, { method });
    return `${response.status} ${await response.text()}`;
  };
  return { rules, ask };
}

describe('faults', () => {
  it('spoils as many requests as the rule says, by path and method', async () => {
    const { rules, ask } = open();
    await rules('POST', { pattern: '/api/*/jobs/*', method: 'post', status: 503, times: 2 });
    expect(await ask('/api/2.2/jobs/get')).toBe('200 real');
    for (let n = 0; n < 2; n += 1) expect(await ask('/api/2.2/jobs/run-now', 'POST')).toMatch(/^503 .*INJECTED_FAULT/);
    expect(await ask('/api/2.2/jobs/run-now', 'POST')).toBe('200 real');
    expect(await (await rules('GET')).json()).toEqual({ rules: [] });
  });

  it.each([['/a*c', '/abc', true], ['/a*c', '/abcd', false], ['/abc', '/abc', true], ['*', '/x', true], ['/a*a', '/a', false], ['*/x/*', '/q/x/y', true], ['/x/*', '/q/x/y', false], ['/x', '/x?a=1', true], ['/x?a=1*', '/x?a=1&b=2', true], ['/x?a=1*', '/x?a=2', false], ['/x?a=1', '/x', false]])(
    'pattern %s, path %s: %s', async (pattern, path, hit) => {
      const { rules, ask } = open();
      await rules('POST', { rules: [{ pattern, status: 500, body: { __type: 'Own' } }] });
      expect(await ask(path)).toBe(hit ? '500 {"__type":"Own"}' : '200 real');
    },
  );

  it('is late, then answers for real; forgets its rules when told to', async () => {
    const { rules, ask } = open();
    await rules('POST', { pattern: '*', delay_ms: 60, times: 1 });
    const before = performance.now();
    expect(await ask('/x')).toBe('200 real');
    expect(performance.now() - before).toBeGreaterThan(55);
    await rules('POST', { pattern: '*', status: 500, times: 9 });
    expect((await rules('DELETE')).status).toBe(200);
    expect(await ask('/x')).toBe('200 real');
  });

  it('takes rules only from who holds the token, and only rules that make sense', async () => {
    const { rules } = open();
    expect((await rules('POST', { pattern: '*' }, 'Bearer no')).status).toBe(403);
    for (const bad of [{}, { pattern: '*', times: 0 }, { pattern: '*', status: 99 }, { pattern: '*', delay_ms: -1 }]) expect((await rules('POST', bad)).status).toBe(400);
  });
});
