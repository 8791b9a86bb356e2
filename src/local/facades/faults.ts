import type { IncomingMessage } from 'node:http';
import type { Context, Hono, MiddlewareHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { pause } from '../../poll.ts';
import { nothing, routeTable, word } from './routes.ts';

/** What shall go wrong, and how often. Without `status` and `drop` the request is only late. */
const ruleShape = z.object({
  /** Path with `*` for any characters, matched as a whole: `/api/2.2/jobs/*`. With a `?` the query is matched, too, as it was sent: `/api/2.2/jobs/runs/get?run_id=7*`. */
  pattern: word,
  /** Any method if absent. */
  method: z.string().toUpperCase().optional(),
  /** Answered instead of the real thing, with `body` or a Databricks error body. */
  status: z.int().min(200).max(599).optional(),
  body: z.unknown().optional(),
  /** Requests left to spoil; the rule is gone afterwards. */
  times: z.int().min(1).default(1),
  delay_ms: z.number().min(0).max(600_000).optional(),
  /** Cuts the connection without an answer. */
  drop: z.boolean().optional(),
});

/** Faults by rule for every façade: mount `middleware` first, and `admin` (routes under /__admin/faults) behind `guard`. */
export function faults(guard: MiddlewareHandler): { middleware: MiddlewareHandler; admin: Hono } {
  let rules: z.infer<typeof ruleShape>[] = [];

  const middleware: MiddlewareHandler = async (c, next) => {
    const asked = (pattern: string): string => (pattern.includes('?') ? c.req.path + new URL(c.req.url).search : c.req.path);
    const spoils = ({ method, pattern }: (typeof rules)[number]) => (method ?? c.req.method) === c.req.method && matches(pattern, asked(pattern));
    const rule = c.req.path.startsWith('/__admin/') ? undefined : rules.find(spoils);
    if (rule === undefined) return next();
    rule.times -= 1;
    rules = rules.filter((r) => r.times > 0);
    if (rule.delay_ms) await pause(rule.delay_ms);
    if (rule.drop) return cut(c);
    if (rule.status === undefined) return next();
    const body = rule.body ?? { error_code: 'INJECTED_FAULT', message: `fault rule for ${rule.pattern}` };
    return c.json(body as object, rule.status as ContentfulStatusCode);
  };

  const { app: admin, get, post, delete: remove } = routeTable('/__admin/faults');
  admin.use(guard);
  get('/', nothing, () => ({ rules }));
  post('/', z.union([z.object({ rules: z.array(ruleShape) }), ruleShape.transform((one) => ({ rules: [one] }))]), (added) => {
    rules.push(...added.rules);
    return { rules };
  });
  remove('/', nothing, () => ({ rules: (rules = []) }));
  return { middleware, admin };
}

function matches(pattern: string, text: string): boolean {
  // Literal parts searched in turn, not a regular expression: a rule must not be able to hang the platform.
  const [first = '', ...parts] = pattern.split('*');
  const last = parts.pop();
  if (last === undefined) return text === first;
  let at = text.startsWith(first) ? first.length : Infinity;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    at = found < 0 ? Infinity : found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

function cut(c: Context): Response {
  (c.env as { incoming?: IncomingMessage } | undefined)?.incoming?.socket.destroy();
  // Nobody is left to read this; without a socket (handlers under test) it stands for the cut.
  return new Response(null, { status: 502 });
}
