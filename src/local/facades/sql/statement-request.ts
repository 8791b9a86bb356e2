import { invalid, text } from '../refusal.ts';
import type { Parameter } from './parameters.ts';

/** A checked request of POST /api/2.0/sql/statements. */
export type StatementRequest = {
  statement: string;
  disposition: 'INLINE' | 'EXTERNAL_LINKS';
  format: 'JSON_ARRAY' | 'ARROW_STREAM';
  /** How long the answer may wait for the result. */
  waitMs: number;
  onWaitTimeout: 'CONTINUE' | 'CANCEL';
  parameters: Parameter[];
  catalog?: string;
  schema?: string;
  rowLimit?: number;
  byteLimit?: number;
};

/** Reads a request body; 400 INVALID_PARAMETER_VALUE names what is wrong with it. */
export function statementRequest(body: Record<string, unknown>): StatementRequest {
  const disposition = oneOf(body, 'disposition', ['INLINE', 'EXTERNAL_LINKS'] as const);
  const format = oneOf(body, 'format', ['JSON_ARRAY', 'ARROW_STREAM'] as const);
  if (disposition === 'INLINE' && format !== 'JSON_ARRAY') throw invalid(`format ${format} needs disposition EXTERNAL_LINKS`);
  const waitMs = waitTimeout(body.wait_timeout);
  const onWaitTimeout = oneOf(body, 'on_wait_timeout', ['CONTINUE', 'CANCEL'] as const);
  if (waitMs === 0 && onWaitTimeout === 'CANCEL') throw invalid('on_wait_timeout CANCEL needs a wait_timeout of 5s to 50s');
  return {
    statement: text(body, 'statement'),
    disposition,
    format,
    waitMs,
    onWaitTimeout,
    parameters: parametersOf(body.parameters),
    ...(body.catalog != null && { catalog: text(body, 'catalog') }),
    ...(body.schema != null && { schema: text(body, 'schema') }),
    ...(body.row_limit != null && { rowLimit: limit(body, 'row_limit', 2 ** 31 - 2) }),
    ...(body.byte_limit != null && { byteLimit: limit(body, 'byte_limit', Number.MAX_SAFE_INTEGER) }),
  };
}

function oneOf<const V extends string>(body: Record<string, unknown>, name: string, values: readonly [V, ...V[]]): V {
  const value = body[name] ?? values[0];
  const known = values.find((candidate) => candidate === value);
  if (known === undefined) throw invalid(`${name} is one of ${values.join(', ')}`);
  return known;
}

function waitTimeout(value: unknown): number {
  const seconds = typeof value === 'string' ? /^(\d{1,2})s$/.exec(value)?.[1] : value == null ? '10' : undefined;
  if (seconds === undefined || (seconds !== '0' && (Number(seconds) < 5 || Number(seconds) > 50))) {
    throw invalid('wait_timeout is 0s or between 5s and 50s');
  }
  return Number(seconds) * 1000;
}

function limit(body: Record<string, unknown>, name: string, most: number): number {
  const value = Number(body[name]);
  if (!Number.isInteger(value) || value < 1 || value > most) throw invalid(`${name} is an integer from 1 to ${most}`);
  return value;
}

function parametersOf(given: unknown): Parameter[] {
  if (given == null) return [];
  if (!Array.isArray(given)) throw invalid('parameters is a list of {name, value, type}');
  return given.map((entry: { name?: unknown; value?: unknown; type?: unknown } | null) => {
    if (typeof entry?.name !== 'string' || entry.name === '') throw invalid('every parameter needs a name');
    if (entry.value != null && typeof entry.value === 'object') throw invalid(`the value of parameter ${entry.name} is a string`);
    return {
      name: entry.name,
      ...(entry.value != null && { value: String(entry.value) }),
      ...(typeof entry.type === 'string' && { type: entry.type }),
    };
  });
}
