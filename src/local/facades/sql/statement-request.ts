import { z } from 'zod';
import { invalid } from '../refusal.ts';

const wait = z.string().regex(/^(?:0|[5-9]|[1-4]\d|50)s$/, 'is 0s or between 5s and 50s');
const parameter = z.object({
  name: z.string().min(1, 'every parameter needs a name'),
  value: z.union([z.string(), z.number(), z.boolean()], 'is a string').transform(String).nullish().transform((value) => value ?? undefined),
  type: z.string().optional(),
});

const request = z
  .object({
    statement: z.string().min(1),
    warehouse_id: z.string().min(1),
    catalog: z.string().optional(),
    schema: z.string().optional(),
    disposition: z.enum(['INLINE', 'EXTERNAL_LINKS']).default('INLINE'),
    format: z.enum(['JSON_ARRAY', 'ARROW_STREAM']).default('JSON_ARRAY'),
    /** How long the answer may wait for the result. */
    wait_timeout: wait.default('10s').transform((text) => Number.parseInt(text, 10) * 1000),
    on_wait_timeout: z.enum(['CONTINUE', 'CANCEL']).default('CONTINUE'),
    parameters: z.array(parameter).default([]),
    row_limit: z.coerce.number().int().min(1).max(2 ** 31 - 2).optional(),
    byte_limit: z.coerce.number().int().min(1).optional(),
  })
  .refine(({ disposition, format }) => disposition === 'EXTERNAL_LINKS' || format === 'JSON_ARRAY', 'format ARROW_STREAM needs disposition EXTERNAL_LINKS')
  .refine(({ wait_timeout, on_wait_timeout }) => wait_timeout > 0 || on_wait_timeout === 'CONTINUE', 'on_wait_timeout CANCEL needs a wait_timeout of 5s to 50s');

/** A checked request of POST /api/2.0/sql/statements. */
export type StatementRequest = z.infer<typeof request>;

/** Reads a request body; 400 INVALID_PARAMETER_VALUE names what is wrong with it. */
export function statementRequest(body: Record<string, unknown>): StatementRequest {
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  const read = request.safeParse(given);
  if (read.success) return read.data;
  throw invalid(read.error.issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': ')).join('; '));
}
