const LOCAL = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)((?:\.\d+)?))?)?$/;

/**
 * Reads a date time as spreadsheets write it, without a zone (`2012-10-02 09:00:00`, seconds or the time of day left out), as
 * local time of the IANA `timeZone`, and returns ISO 8601 in UTC. Other texts come back as they are. An hour that a clock
 * change repeats is its first pass; one that it leaves out is read as if the clock had not changed yet.
 */
export function toUtc(text: string, timeZone: string): string {
  const match = LOCAL.exec(text);
  if (match === null) return text;
  const [, date = '', time = '00:00', second = '00', fraction = ''] = match;
  const asUtc = `${date}T${time}:${second}${fraction}Z`;
  if (timeZone === 'UTC') return asUtc;
  const localMillis = Date.parse(`${date}T${time}:${second}Z`);
  // 30 February is left to whoever judges the timestamp.
  if (Number.isNaN(localMillis)) return asUtc;
  const utc = new Date(localMillis - offsetAt(localMillis, timeZone)).toISOString();
  return `${utc.slice(0, 19)}${fraction}Z`;
}

/** True where this runtime knows the IANA name. */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const DAY_MILLIS = 86_400_000;

/** Offset from UTC in milliseconds that local clocks showing `localMillis` have: of two, the earlier one's. */
function offsetAt(localMillis: number, timeZone: string): number {
  const before = zoneOffset(localMillis - DAY_MILLIS, timeZone);
  const after = zoneOffset(localMillis + DAY_MILLIS, timeZone);
  const fits = (offset: number): boolean => zoneOffset(localMillis - offset, timeZone) === offset;
  return fits(before) || !fits(after) ? before : after;
}

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

function zoneOffset(utcMillis: number, timeZone: string): number {
  // No zone has changed its clocks other than on a quarter of an hour.
  const quarter = Math.floor(utcMillis / 900_000);
  const known = offsets.get(`${timeZone} ${quarter}`);
  if (known !== undefined) return known;
  const format = formats.get(timeZone) ?? new Intl.DateTimeFormat('en', { timeZone, hourCycle: 'h23', era: 'short', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' });
  formats.set(timeZone, format);
  const parts = Object.fromEntries(format.formatToParts(quarter * 900_000).map((part) => [part.type, Number(part.value)]));
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts as Record<string, number>;
  const offset = Date.UTC(year, month - 1, day, hour, minute, second) - quarter * 900_000;
  if (offsets.size > 10_000) offsets.clear();
  offsets.set(`${timeZone} ${quarter}`, offset);
  return offset;
}
