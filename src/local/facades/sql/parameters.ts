import { randomUUID } from 'node:crypto';
import { readRows } from './projection.ts';
import type { Message, Relation, SparkSession } from './spark-connect.ts';
import { sqlFailure } from './spark-errors.ts';

/** A parameter as a client sends it: without a name it is positional, without a value NULL; ARRAY and MAP have arguments. */
export type Parameter = { name?: string; type?: string; value?: string; arguments?: Parameter[] };

const INTEGERS: Record<string, { literal: string; bits: number }> = {
  TINYINT: { literal: 'byte', bits: 8 },
  BYTE: { literal: 'byte', bits: 8 },
  SMALLINT: { literal: 'short', bits: 16 },
  SHORT: { literal: 'short', bits: 16 },
  INT: { literal: 'integer', bits: 32 },
  INTEGER: { literal: 'integer', bits: 32 },
  BIGINT: { literal: 'long', bits: 64 },
  LONG: { literal: 'long', bits: 64 },
};
const TEXTS = new Set(['STRING', 'CHAR', 'VARCHAR']);
const EPOCH = "TIMESTAMP_NTZ'1970-01-01 00:00:00'";

/** A value whose meaning is Spark's to find: the SQL that computes it from the bound text `:pN`, and the literal it becomes. */
type Computed = { sql: (marker: string) => string; literal: (value: string) => Message };

/** A statement as a relation, its parameters bound by Spark as typed literals: the statement's text is never touched. */
export async function bindStatement(session: SparkSession, query: string, parameters: Parameter[]): Promise<Relation> {
  if (parameters.length === 0) return { sql: { query } };
  return boundSql({ query, ...(await argumentsOf(session, parameters)) });
}

/**
 * Delta's parser drops parameters on Spark 4.1 (delta-io/delta#7640). They survive where Spark binds them in the
 * analyzer: with BINDS_IN_ANALYZER set, and on the path that SQL with references takes; so here is an unused, empty one.
 */
function boundSql(sql: Message): Relation {
  const unused = { subquery_alias: { input: { range: { start: 0, end: 0, step: 1 } }, alias: `unused_${randomUUID().replaceAll('-', '')}` } };
  return { with_relations: { root: { sql }, references: [unused] } };
}

const receivedOrders = new WeakMap<SparkSession, Map<number, number[]>>();

/**
 * Spark 4.1 puts positional arguments through a hash map: from the fifth on their order is lost. Which marker gets which
 * argument depends on their number alone, so a statement with numbers for arguments tells, once a session and number.
 */
async function inSparksOrder(session: SparkSession, expressions: Message[]): Promise<Message[]> {
  const count = expressions.length;
  if (count <= 4) return expressions;
  const known = receivedOrders.get(session) ?? new Map<number, number[]>();
  receivedOrders.set(session, known);
  if (!known.has(count)) {
    const names = expressions.map((_, index) => `v${index}`);
    const sql = { query: `select ${names.map((name) => `? as ${name}`).join(', ')}`, pos_arguments: names.map((_, index) => ({ literal: { integer: index } })) };
    const [received = []] = await readRows(session, boundSql(sql), names);
    known.set(count, received.map(Number));
  }
  const sent: Message[] = [];
  known.get(count)!.forEach((place, marker) => (sent[place] = expressions[marker]!));
  return sent;
}

/** The setting every session needs for its parameters to be bound. */
export const BINDS_IN_ANALYZER = { 'spark.sql.legacy.parameterSubstitution.constantsOnly': 'true' };

async function argumentsOf(session: SparkSession, parameters: Parameter[]): Promise<Message> {
  const pending: { text: string; computed: Computed; into: Message }[] = [];
  const expressions = parameters.map((parameter) => expressionOf(parameter, pending));
  if (pending.length > 0) await computeInSpark(session, pending);
  const named = parameters.filter((parameter) => parameter.name !== undefined).length;
  if (named === 0) return { pos_arguments: await inSparksOrder(session, expressions) };
  if (named < parameters.length) throw sqlFailure('INVALID_PARAMETER', '42K08', 'parameters are either all named or all positional');
  return { named_arguments: Object.fromEntries(parameters.map((parameter, index) => [parameter.name, expressions[index]])) };
}

function expressionOf(parameter: Parameter, pending: { text: string; computed: Computed; into: Message }[]): Message {
  const type = (parameter.type ?? 'STRING').trim().toUpperCase();
  if (parameter.arguments && (type === 'ARRAY' || type === 'MAP')) {
    const elements = parameter.arguments.map((argument) => expressionOf(argument, pending));
    return { unresolved_function: { function_name: type.toLowerCase(), arguments: elements } };
  }
  if (parameter.value === undefined || parameter.value === null || type === 'VOID') return { literal: { null: { null: {} } } };
  const known = simpleLiteral(type, parameter.value);
  if (known) return { literal: known };
  const into: Message = {};
  pending.push({ text: parameter.value, computed: computedLiteral(type), into });
  return { literal: into };
}

/** Values whose text leaves no question; anything else, malformed text too, is Spark's to judge. */
function simpleLiteral(type: string, text: string): Message | undefined {
  if (TEXTS.has(type.replace(/\(\d+\)$/, ''))) return { string: text };
  if (type === 'BOOLEAN' && /^(?:true|false)$/i.test(text)) return { boolean: text.toLowerCase() === 'true' };
  const integer = INTEGERS[type];
  if (integer && /^[+-]?\d{1,19}$/.test(text)) {
    const value = BigInt(text.replace('+', ''));
    return BigInt.asIntN(integer.bits, value) === value ? { [integer.literal]: integer.bits === 64 ? `${value}` : Number(value) } : undefined;
  }
  if ((type === 'DOUBLE' || type === 'FLOAT') && /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) return { [type.toLowerCase()]: Number(text) };
  return undefined;
}

function computedLiteral(type: string): Computed {
  const decimal = /^(?:DECIMAL|DEC|NUMERIC)(?:\((\d+)(?:\s*,\s*(\d+))?\))?$/.exec(type);
  if (decimal) return decimalLiteral(decimal[1], decimal[2]);
  const castTo = (name: string) => (marker: string) => `cast(${marker} as ${name})`;
  if (type in INTEGERS) return { sql: castTo(type === 'BYTE' || type === 'SHORT' || type === 'LONG' ? { BYTE: 'TINYINT', SHORT: 'SMALLINT', LONG: 'BIGINT' }[type] : type), literal: (value) => ({ [INTEGERS[type]!.literal]: value }) };
  if (type === 'BOOLEAN') return { sql: castTo(type), literal: (value) => ({ boolean: value === 'true' }) };
  if (type === 'DOUBLE' || type === 'FLOAT') return { sql: castTo(type), literal: (value) => ({ [type.toLowerCase()]: Number(value) }) };
  if (type === 'DATE') return { sql: (marker) => `unix_date(cast(${marker} as DATE))`, literal: (value) => ({ date: Number(value) }) };
  if (type === 'TIMESTAMP' || type === 'TIMESTAMP_LTZ') {
    return { sql: (marker) => `unix_micros(cast(${marker} as TIMESTAMP))`, literal: (value) => ({ timestamp: value }) };
  }
  const microsSince = (end: string) => `timestampdiff(MICROSECOND, ${EPOCH}, ${end})`;
  if (type === 'TIMESTAMP_NTZ') {
    return { sql: (marker) => microsSince(`cast(${marker} as TIMESTAMP_NTZ)`), literal: (value) => ({ timestamp_ntz: value }) };
  }
  if (/^INTERVAL (?:YEAR|MONTH|YEAR TO MONTH)$/.test(type)) {
    return { sql: (marker) => `cast(cast(cast(${marker} as ${type}) as INTERVAL MONTH) as INT)`, literal: (value) => ({ year_month_interval: Number(value) }) };
  }
  if (/^INTERVAL (?:DAY|HOUR|MINUTE|SECOND)(?: TO (?:HOUR|MINUTE|SECOND))?$/.test(type)) {
    return { sql: (marker) => microsSince(`${EPOCH} + cast(${marker} as ${type})`), literal: (value) => ({ day_time_interval: value }) };
  }
  throw sqlFailure('UNSUPPORTED_PARAMETER_TYPE', '0A000', `A parameter of type ${JSON.stringify(type)} cannot be bound.`);
}

/** Without a precision, as one driver sends it, the value's own digits say it: nothing is rounded away. */
function decimalLiteral(precision: string | undefined, scale: string | undefined): Computed {
  if (precision !== undefined) {
    const [p, s] = [Number(precision), Number(scale ?? 0)];
    return { sql: (marker) => `cast(${marker} as DECIMAL(${p},${s}))`, literal: (value) => ({ decimal: { value, precision: p, scale: s } }) };
  }
  return {
    sql: (marker) => `if(cast(${marker} as DECIMAL(38,0)) is null, null, trim(${marker}))`,
    literal: (value) => {
      const [, whole = '', fraction = ''] = /^[+-]?(\d*)\.?(\d*)$/.exec(value) ?? [];
      const digits = { precision: Math.max(whole.replace(/^0+/, '').length + fraction.length, 1), scale: fraction.length };
      if (whole + fraction === '' || digits.precision > 38) throw sqlFailure('CAST_INVALID_INPUT', '22018', `${JSON.stringify(value)} is not a DECIMAL of at most 38 digits.`);
      return { decimal: { value, ...digits } };
    },
  };
}

async function computeInSpark(session: SparkSession, pending: { text: string; computed: Computed; into: Message }[]): Promise<void> {
  const named_arguments = Object.fromEntries(pending.map(({ text }, index) => [`p${index}`, { literal: { string: text } }]));
  const query = `select ${pending.map(({ computed }, index) => `${computed.sql(`:p${index}`)} as v${index}`).join(', ')}`;
  const [row = []] = await readRows(session, boundSql({ query, named_arguments }), pending.map((_, index) => `v${index}`));
  pending.forEach(({ computed, into }, index) => {
    Object.assign(into, row[index] === null ? { null: { null: {} } } : computed.literal(String(row[index])));
  });
}
