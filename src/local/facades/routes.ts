import { Hono, type Context } from 'hono';
import { z } from 'zod';
import { invalid, jsonObject } from './refusal.ts';

/** What a route answers: JSON, `{}` for nothing, or a response of its own making. */
type Answer = object | void;
type Caller = { Variables: { subject: string } };
type Route = <T extends z.ZodType>(path: string, schema: T, handle: (given: z.output<T>, c: Context<Caller>) => Answer | Promise<Answer>) => void;
/** How a request's fields are read, and how a wrong one is refused. */
export type Manner = { body(c: Context): Promise<unknown>; refuse(message: string, field: string): Error };

const databricks: Manner = { body: async (c) => jsonObject(await c.req.text()), refuse: invalid };

/** A table of routes below `base`: a schema reads the fields of path and query or JSON body, a handler makes the answer of them. */
export function routeTable(base: string, { body, refuse }: Manner = databricks) {
  const app = new Hono<Caller>().basePath(base);
  const add = (method: string): Route => (path, schema, handle) => void app.on(method, path, async (c) => {
    const fields = method === 'GET' || method === 'DELETE' ? c.req.query() : ((await body(c)) as object);
    const answer = await handle(parsed(schema, { ...fields, ...c.req.param() }, refuse), c);
    return answer instanceof Response ? answer : c.json(answer ?? {});
  });
  return { app: app as unknown as Hono, get: add('GET'), post: add('POST'), put: add('PUT'), patch: add('PATCH'), delete: add('DELETE') };
}

/** What the schema makes of these fields; the first wrong one as 400, or as `refuse` says it. */
export function parsed<T extends z.ZodType>(schema: T, fields: unknown, refuse: Manner['refuse'] = invalid): z.output<T> {
  const { data, error } = schema.safeParse(fields);
  if (data !== undefined) return data;
  const { path = [], message } = error?.issues[0] ?? {};
  throw refuse(`${path.join('.') || 'The request'}: ${message}`, String(path.at(-1) ?? ''));
}

/** No field at all. */
export const nothing = z.object({});
/** A non-empty string. */
export const word = z.string().min(1);
/** An int64 id: clients send numbers or digits. */
export const identifier = z.union([z.int(), z.string().regex(/^\d+$/).transform(Number)]).pipe(z.int());
/** A number in a query. */
export const count = z.coerce.number().int().min(0);
/** A truth of a body or a query, false unless given. */
export const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((given) => given === 'true')]).default(false);
