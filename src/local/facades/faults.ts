import type { IncomingMessage } from 'node:http';
import { Hono } from 'hono';
import type { Context, MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { pause } from '../../poll.ts';
import { invalid, jsonBody } from './refusal.ts';

/** What shall go wrong, and how often. Without `status` and `drop` the request is only late. */
export type FaultRule = {
  /** Path with `*` for any characters, matched as a whole: `/api/2.2/jobs/*`. */
  pattern: string;
  /** Any method if absent. */
  method?: string;
  /** Answered instead of the real thing, with `body` or a Databricks error body. */
  status?: number;
  body?: unknown;
  /** Requests left to spoil; the rule is gone afterwards. */
  times: number;
  delay_ms?: number;
  /** Cuts the connection without an answer. */
  drop?: boolean;
};

/** Faults by rule for every façade: mount `middleware` first, and `admin` (routes under /__admin/faults) behind `guard`. */
export function faults(guard: MiddlewareHandler): { middleware: MiddlewareHandler; admin: Hono } {
  let rules: FaultRule[] = [];

  const middleware: MiddlewareHandler = async (c, next) => {
    const rule = c.req.path.startsWith('/__admin/') ? undefined : rules.find((r) => matches(r, c.req.method, c.req.path));
    if (rule === undefined) return next();
    rule.times -= 1;
    rules = rules.filter((r) => r.times > 0);
    if (rule.delay_ms) await pause(rule.delay_ms);
    if (rule.drop) return cut(c);
    if (rule.status === undefined) return next();
    const body = rule.body ?? { error_code: 'INJECTED_FAULT', message: `fault rule for ${rule.pattern}` };
    return c.json(body as object, rule.status as ContentfulStatusCode);
  };

  const admin = new Hono();
  admin.use('/__admin/*', guard);
  admin.get('/__admin/faults', (c) => c.json({ rules }));
  admin.post('/__admin/faults', async (c) => {
    const body = await jsonBody(c);
    const added = (Array.isArray(body.rules) ? body.rules : [body]).map(ruleOf);
    rules = [...rules, ...added];
    return c.json({ rules });
  });
  admin.delete('/__admin/faults', (c) => {
    rules = [];
    return c.json({ rules });
  });
  return { middleware, admin };
}

function matches(rule: FaultRule, method: string, path: string): boolean {
  if (rule.method !== undefined && rule.method.toUpperCase() !== method) return false;
  // Literal parts searched in turn, not a regular expression: a rule must not be able to hang the platform.
  const parts = rule.pattern.split('*');
  const last = parts.pop() ?? '';
  if (parts.length === 0) return path === last;
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const found = index === 0 ? (path.startsWith(part) ? 0 : -1) : path.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return path.length - last.length >= at && path.endsWith(last);
}

function ruleOf(given: unknown): FaultRule {
  const rule: FaultRule = { ...(given as FaultRule), times: (given as Partial<FaultRule> | null)?.times ?? 1 };
  if (typeof rule.pattern !== 'string') throw invalid('a fault rule needs a pattern, e.g. {"pattern":"/api/2.2/jobs/*","status":500,"times":1}');
  if (!Number.isInteger(rule.times) || rule.times < 1) throw invalid('times is a positive integer');
  if (rule.status !== undefined && !(rule.status >= 200 && rule.status <= 599)) throw invalid('status is an HTTP status from 200 to 599');
  if (rule.delay_ms !== undefined && !(rule.delay_ms >= 0 && rule.delay_ms <= 600_000)) throw invalid('delay_ms is from 0 to 600000');
  return rule;
}

function cut(c: Context): Response {
  const incoming = (c.env as { incoming?: IncomingMessage } | undefined)?.incoming;
  incoming?.socket.destroy();
  // Nobody is left to read this; without a socket (handlers under test) it stands for the cut.
  return new Response(null, { status: 502 });
}
