import type { EventFields, Reason } from './event.ts';

export type TrafficOptions = {
  records: number;
  /** The event times lie evenly in [from, to), epoch milliseconds. */
  fromMillis: number;
  toMillis: number;
  /** The same seed gives the same records, whatever the machine. */
  seed: number;
  /** Share of bad records, 0 to 1. */
  badRatio: number;
  /** Sites that are counted; none = records without a key. */
  keys: readonly string[];
  fields: EventFields;
};

/** One record to send; `bad` is the reason the pipeline must find, null for a good one. */
export type TrafficRecord = { key: string | null; value: string | null; bad: Reason | null };

/** Traffic counts with a rhythm of the day and the week, noise and, by `badRatio`, bad records of every kind; lazy and deterministic. */
export function* generateTraffic(options: TrafficOptions): Generator<TrafficRecord, void, undefined> {
  const random = seededRandom(options.seed);
  const spacingMillis = (options.toMillis - options.fromMillis) / options.records;
  const rhythm = weeklyRhythm();
  const field = quoteFields(options);
  const tails = options.keys.length === 0 ? ['}'] : options.keys.map((key) => `,${field.key}:${JSON.stringify(key)}}`);
  for (let i = 0; i < options.records; i += 1) {
    const millis = Math.min(options.toMillis - 1, Math.floor(options.fromMillis + (i + random()) * spacingMillis));
    const site = tails.length === 1 ? 0 : Math.floor(random() * tails.length);
    const expected = rhythm[Math.floor(millis / 900_000) % rhythm.length] as number;
    // Sites differ in size, and no count repeats its neighbour.
    const count = Math.round((expected * (0.7 + random() * 0.6)) / (1 + site * 0.35));
    const key = options.keys.length === 0 ? null : (options.keys[site] as string);
    const tail = tails[site] as string;
    if (options.badRatio > 0 && random() < options.badRatio) {
      yield badRecord(Math.floor(random() * BAD_KINDS), { key, field, tail, millis, count });
    } else {
      yield { key, value: `{${field.timestamp}:${spelled(millis, i)},${field.value}:${count}${tail}`, bad: null };
    }
  }
}

/** Event time in one of the accepted spellings: mostly seconds with a fraction, sometimes text, milliseconds or ISO 8601. */
function spelled(millis: number, i: number): string {
  if (i % 16 === 3) return `"${seconds(millis)}"`;
  if (i % 16 === 7) return String(millis).length === 13 ? String(millis) : seconds(millis);
  if (i % 64 === 11) return `"${new Date(millis).toISOString()}"`;
  return seconds(millis);
}

function seconds(millis: number): string {
  const fraction = millis % 1000;
  const whole = (millis - fraction) / 1000;
  return fraction === 0 ? String(whole) : `${whole}.${fraction < 10 ? '00' : fraction < 100 ? '0' : ''}${fraction}`;
}

type Quoted = { timestamp: string; value: string; key: string };
type BadInput = { key: string | null; field: Quoted; tail: string; millis: number; count: number };

const BAD_KINDS = 14;

/** The bad records that occur in the field, one for each number below BAD_KINDS. */
function badRecord(kind: number, { key, field, tail, millis, count }: BadInput): TrafficRecord {
  const made = (timestamp: string, value: string, bad: Reason, end = tail): TrafficRecord => ({
    key,
    value: `{${field.timestamp}:${timestamp},${field.value}:${value}${end}`,
    bad,
  });
  const time = seconds(millis);
  switch (kind) {
    case 0: return { key, value: null, bad: 'tombstone' };
    case 1: return { key, value: '', bad: 'empty_payload' };
    case 2: return { key, value: `{${field.timestamp}:${time},${field.value}:`, bad: 'not_json' };
    case 3: return { key, value: `[${time},${count}]`, bad: 'not_an_object' };
    case 4: return { key, value: `{${field.value}:${count}${tail}`, bad: 'missing_timestamp' };
    case 5: return { key, value: `{${field.timestamp}:${time}${tail}`, bad: 'missing_value' };
    case 6: return made('"yesterday"', String(count), 'timestamp_unreadable');
    case 7: return made(`"${new Date(millis).toISOString().slice(0, 19)}"`, String(count), 'timestamp_unreadable');
    case 8: return made('"9999-12-31T23:59:59Z"', String(count), 'timestamp_out_of_range');
    case 9: return made('"9998-12-31T23:59:59Z"', String(count), 'timestamp_in_future');
    case 10: return made(time, `"${count}"`, 'value_not_integer');
    case 11: return made(time, `${count}.5`, 'value_not_integer');
    case 12: return made(time, '9223372036854775808', 'value_out_of_range');
    default: return made(time, String(count), 'key_not_text', `,${field.key}:["${count}"]}`);
  }
}

function quoteFields({ fields }: TrafficOptions): Quoted {
  return { timestamp: JSON.stringify(fields.timestamp), value: JSON.stringify(fields.value), key: JSON.stringify(fields.key) };
}

/** Expected vehicles in each quarter hour of a week from a Thursday (the epoch's weekday): two rush hours, quiet nights, calmer weekends. */
function weeklyRhythm(): number[] {
  return Array.from({ length: 7 * 96 }, (_, quarter) => {
    const hour = (quarter % 96) / 4;
    const weekday = Math.floor(quarter / 96);
    const isWeekend = weekday === 2 || weekday === 3;
    const bell = (centre: number, width: number): number => Math.exp(-(((hour - centre) / width) ** 2));
    const rush = isWeekend ? 2800 * bell(14, 4.5) : 3600 * bell(7.5, 1.8) + 4200 * bell(16.75, 2.6) + 1900 * bell(12, 3.5);
    return Math.round(350 + rush);
  });
}

/** Small fast counter-based generator (sfc32): uniform in [0, 1), 32 bits. */
function seededRandom(seed: number): () => number {
  let a = 0x9e3779b9;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = seed | 0;
  let counter = 1;
  const next = (): number => {
    const result = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return (result >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 15; i += 1) next();
  return next;
}
