/**
 * Why a record is a bad one. Stable: the notebook writes the same codes into `raw.error`. A record with several faults
 * gets the first of this list.
 */
export const REASONS = [
  'tombstone',
  'empty_payload',
  'not_json',
  'not_an_object',
  'missing_timestamp',
  'missing_value',
  'timestamp_unreadable',
  'timestamp_out_of_range',
  'timestamp_in_future',
  'value_not_integer',
  'value_out_of_range',
  'key_not_text',
] as const;

export type Reason = (typeof REASONS)[number];

/** Names of the JSON fields: variables of databricks.yml. */
export type EventFields = { timestamp: string; value: string; key: string };

export type JudgeOptions = {
  fields: EventFields;
  /** When the broker took the record, epoch milliseconds; without it nothing counts as too far ahead. */
  arrivedAtMillis?: number;
  maxFutureMinutes?: number;
};

export type Verdict = { eventTimeMicros: bigint; key: string; value: bigint } | { error: Reason };

/** A JSON number as it was written: nothing of it is lost to a double. */
class NumberLiteral {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

const keepNumbers = (_key: string, value: unknown, context?: { source?: string }): unknown =>
  typeof value === 'number' ? new NumberLiteral(context?.source ?? String(value)) : value;

// A byte order mark is no JSON, and ill-formed UTF-8 must not turn into replacement characters.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const HUGE_SECONDS = '9'.repeat(20);
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** 9999-01-01T00:00:00Z: Spark and Elasticsearch both stop understanding dates soon after. */
const END_OF_TIME_MICROS = 253_370_764_800_000_000n;

/** Judges one Kafka payload (null = tombstone): what it counts, exactly, or why it is a bad record. Never throws. */
export function judge(payload: Uint8Array | string | null, options: JudgeOptions): Verdict {
  if (payload === null) return { error: 'tombstone' };
  if (payload.length === 0) return { error: 'empty_payload' };
  const text = decoded(payload);
  if (text === undefined) return { error: 'not_json' };
  const plain = plainShape(options.fields).exec(text);
  if (plain !== null) return judgeParts(plain[1] ?? plain[2], new NumberLiteral(plain[3] as string), plain[4], options);
  const parsed = parseObject(text);
  if (typeof parsed === 'string') return { error: parsed };
  const { fields } = options;
  const timestamp = own(parsed, fields.timestamp);
  return judgeParts(timestamp instanceof NumberLiteral ? (isHuge(timestamp) ? HUGE_SECONDS : timestamp.source) : timestamp, own(parsed, fields.value), own(parsed, fields.key), options);
}

function judgeParts(timestamp: unknown, value: unknown, key: unknown, options: JudgeOptions): Verdict {
  if (timestamp === undefined) return { error: 'missing_timestamp' };
  if (value === undefined) return { error: 'missing_value' };
  const eventTimeMicros = readTimestamp(timestamp);
  if (typeof eventTimeMicros === 'string') return { error: eventTimeMicros };
  if (isTooFarAhead(eventTimeMicros, options)) return { error: 'timestamp_in_future' };
  const count = readInteger(value);
  if (typeof count === 'string') return { error: count };
  const name = readKey(key);
  if (name === undefined) return { error: 'key_not_text' };
  return { eventTimeMicros, key: name, value: count };
}

const shapes = new WeakMap<EventFields, RegExp>();

/** Matches nearly every record there is (the fields in order, no escapes, no white space), three times as fast as parsing it. */
function plainShape(fields: EventFields): RegExp {
  const known = shapes.get(fields);
  if (known !== undefined) return known;
  const [timestamp, value, key] = [fields.timestamp, fields.value, fields.key].map((name) => JSON.stringify(name).replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`));
  const text = String.raw`"([^"\\\u0000-\u001f\ud800-\udfff]*)"`;
  const shape = new RegExp(String.raw`^\{${timestamp}:(?:([1-9]\d*(?:\.\d+)?)|${text}),${value}:(-?(?:0|[1-9]\d*))(?:,${key}:${text})?\}$`);
  shapes.set(fields, shape);
  return shape;
}

function decoded(payload: Uint8Array | string): string | undefined {
  if (typeof payload === 'string') return payload;
  try {
    return utf8.decode(payload);
  } catch {
    return undefined;
  }
}

function parseObject(text: string): object | Reason {
  let parsed: unknown;
  try {
    parsed = (JSON.parse as (text: string, reviver: typeof keepNumbers) => unknown)(text, keepNumbers);
  } catch {
    return 'not_json';
  }
  const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) && !(parsed instanceof NumberLiteral);
  return isObject ? parsed as object : 'not_an_object';
}

/** A field's value; absent and null are the same: undefined. */
function own(parsed: object, field: string): unknown {
  return Object.hasOwn(parsed, field) ? ((parsed as Record<string, unknown>)[field] ?? undefined) : undefined;
}

/** Event time of a `timestamp` field in epoch microseconds, or why it has none. */
function readTimestamp(timestamp: unknown): bigint | Reason {
  const micros = typeof timestamp === 'string' ? parseTimestamp(timestamp) : undefined;
  if (micros === undefined) return 'timestamp_unreadable';
  return micros < 0n || micros >= END_OF_TIME_MICROS ? 'timestamp_out_of_range' : micros;
}

function isTooFarAhead(eventTimeMicros: bigint, options: JudgeOptions): boolean {
  if (options.arrivedAtMillis === undefined || options.maxFutureMinutes === undefined) return false;
  const latestMillis = BigInt(Math.trunc(options.arrivedAtMillis)) + BigInt(options.maxFutureMinutes) * 60_000n;
  return eventTimeMicros > latestMillis * 1000n;
}

/** Numbers of this size are known to Spark as doubles only, however they were written: 1E400 is not unreadable, it is too large. */
function isHuge({ source }: NumberLiteral): boolean {
  return Math.abs(Number(source)) >= 1e38;
}

function readInteger(value: unknown): bigint | Reason {
  if (!(value instanceof NumberLiteral)) return 'value_not_integer';
  if (!/^-?\d+$/.test(value.source)) return isHuge(value) ? 'value_out_of_range' : 'value_not_integer';
  // 20 characters hold every 64-bit literal (JSON has no leading zeros); BigInt() of a 900 KB literal would take seconds.
  if (value.source.length > 20) return 'value_out_of_range';
  const integer = BigInt(value.source);
  return integer < INT64_MIN || integer > INT64_MAX ? 'value_out_of_range' : integer;
}

/** The key's text, '' where there is none; undefined for what is neither a string of whole characters nor a 64-bit integer. */
function readKey(key: unknown): string | undefined {
  if (key === undefined) return '';
  if (key instanceof NumberLiteral) {
    const integer = readInteger(key);
    return typeof integer === 'bigint' ? integer.toString() : undefined;
  }
  return typeof key === 'string' && key.isWellFormed() ? key : undefined;
}

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?$/;
const ISO = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))$/;

/**
 * Epoch microseconds (they may lie before 1970 or beyond 9999) of epoch seconds with an optional fraction, of epoch
 * milliseconds (exactly 13 digits), or of ISO 8601 with a zone; digits past the microsecond are cut. Undefined = unreadable.
 */
export function parseTimestamp(text: string): bigint | undefined {
  const number = NUMBER.exec(text);
  if (number) {
    const [, sign, digits = '', fraction] = number;
    // 15 digits of seconds are past the year 30,000,000: no need to read more of them.
    if (digits.replace(/^0+/, '').length > 15) return sign === '-' ? -1n : END_OF_TIME_MICROS;
    const isMillis = digits.length === 13 && fraction === undefined;
    const micros = isMillis ? BigInt(digits) * 1000n : BigInt(digits) * 1_000_000n + microsOf(fraction);
    return sign === '-' ? -micros : micros;
  }
  const iso = ISO.exec(text);
  return iso ? isoMicros(iso) : undefined;
}

function isoMicros(match: RegExpExecArray): bigint | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const zoneHour = Number(match[9] ?? 0);
  const zoneMinute = Number(match[10] ?? 0);
  // Seconds of 60 and zones beyond +-18:00 are refused, as java.time refuses them.
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return undefined;
  if (hour > 23 || minute > 59 || second > 59 || zoneMinute > 59 || zoneHour * 60 + zoneMinute > 18 * 60) return undefined;
  const zoneSeconds = (zoneHour * 3600 + zoneMinute * 60) * (match[8] === '-' ? -1 : 1);
  const seconds = daysSinceEpoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zoneSeconds;
  return BigInt(seconds) * 1_000_000n + microsOf(match[7]);
}

function microsOf(fraction: string | undefined): bigint {
  return fraction === undefined ? 0n : BigInt(fraction.slice(0, 6).padEnd(6, '0'));
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar; Date.UTC would read the years 0 to 99 as 1900 to 1999. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}
