import type { Message, Relation } from '../../spark-connect/client.ts';
import { sqlFailure } from '../../spark-connect/errors.ts';
import { quoted } from './session.ts';

/** A parameter as a client sends it: without a name it is positional, without a value NULL; ARRAY and MAP have arguments. */
export type Parameter = { name?: string; type?: string; value?: string; arguments?: Parameter[] };

const TYPE = /^(?:[A-Z_]+(?: *\( *\d+ *(?:, *\d+ *)?\))?|INTERVAL [A-Z]+(?: TO [A-Z]+)?)$/;
const MOST_DIGITS = 38;

/**
 * A statement as a relation. Spark converts and binds its parameters: the statement and every value are string literals
 * of the protocol, and of the client's words only the names of types become SQL text.
 */
export function boundStatement(statement: string, parameters: Parameter[]): Relation {
  if (parameters.length === 0) return { sql: { query: statement } };
  const texts = [statement];
  const bound = parameters.map((parameter) => expressionOf(parameter, texts) + (parameter.name === undefined ? '' : ` AS ${quoted(parameter.name)}`));
  const named_arguments = Object.fromEntries(texts.map((text, index) => [`p${index}`, { literal: { string: text } }]));
  return boundByAnalyzer({ query: `EXECUTE IMMEDIATE :p0 USING ${bound.join(', ')}`, named_arguments });
}

/** SQL that casts a parameter's text, which becomes the literal `:pN`, to its type. */
function expressionOf(parameter: Parameter, texts: string[]): string {
  const type = (parameter.type ?? 'STRING').trim().toUpperCase();
  if (parameter.arguments && (type === 'ARRAY' || type === 'MAP')) {
    return `${type}(${parameter.arguments.map((argument) => expressionOf(argument, texts)).join(', ')})`;
  }
  if (parameter.value === undefined || type === 'VOID') return 'NULL';
  if (!TYPE.test(type)) throw sqlFailure('UNSUPPORTED_PARAMETER_TYPE', '0A000', `A parameter of type ${JSON.stringify(type)} cannot be bound.`);
  const marker = `:p${texts.push(parameter.value) - 1}`;
  return type === 'STRING' ? marker : `CAST(${marker} AS ${type === 'DECIMAL' ? decimalOf(parameter.value) : type})`;
}

/** Without a precision, as one driver sends it, the value's own digits say it: nothing is rounded away. */
function decimalOf(value: string): string {
  const [, whole = '', fraction = ''] = /^\s*[+-]?(\d*)\.?(\d*)\s*$/.exec(value) ?? [];
  const digits = whole.replace(/^0+/, '').length + fraction.length;
  if (whole + fraction === '' || digits > MOST_DIGITS) throw sqlFailure('CAST_INVALID_INPUT', '22018', `${JSON.stringify(value)} is not a DECIMAL of at most ${MOST_DIGITS} digits.`);
  return `DECIMAL(${Math.max(digits, 1)}, ${fraction.length})`;
}

/**
 * Delta's parser drops parameters on Spark 4.1 (delta-io/delta#7640). They survive where Spark binds them in the
 * analyzer: with the setting that every session has, and on the path that SQL with references takes; so here is an unused, empty one.
 */
function boundByAnalyzer(sql: Message): Relation {
  const unused = { subquery_alias: { input: { range: { start: 0, end: 0, step: 1 } }, alias: 'no_parameter_is_called_this' } };
  return { with_relations: { root: { sql }, references: [unused] } };
}
