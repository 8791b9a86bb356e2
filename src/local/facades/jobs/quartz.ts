import { Cron } from 'croner';
import { invalid } from '../refusal.ts';

type Field = { name: string; low: number; high: number; words?: string[] };

const fields: Field[] = [
  { name: 'seconds', low: 0, high: 59 },
  { name: 'minutes', low: 0, high: 59 },
  { name: 'hours', low: 0, high: 23 },
  { name: 'day of month', low: 1, high: 31 },
  { name: 'month', low: 1, high: 12, words: ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'] },
  { name: 'day of week', low: 1, high: 7, words: ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'] },
  { name: 'year', low: 1970, high: 2099 },
];

/** The next moment (epoch ms) after `afterMs` that a Quartz expression names in a time zone; undefined if there is none. */
export type NextFire = (afterMs: number) => number | undefined;

/** Reads a Quartz cron expression; 400 for what Quartz refuses and for the little that cannot be computed here (`L-3`). */
export function quartz(expression: string, timezone: string): NextFire {
  try {
    const cron = new Cron(cronPattern(expression), { timezone, mode: '6-or-7-parts', alternativeWeekdays: true, paused: true });
    const next: NextFire = (afterMs) => cron.nextRun(new Date(afterMs))?.getTime();
    next(0);
    return next;
  } catch (error) {
    throw invalid(`Invalid schedule: '${expression}' in time zone '${timezone}': ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The same expression as croner reads it: every name a number, every step with its range, no range that wraps. */
export function cronPattern(expression: string): string {
  const parts = expression.trim().split(/\s+/);
  if (parts.length < 6 || parts.length > 7) throw new RangeError('a Quartz expression has 6 or 7 fields');
  if ((parts[3] === '?') === (parts[5] === '?')) throw new RangeError("exactly one of day of month and day of week must be '?'");
  return parts.map((part, index) => {
    const field = fields[index] as Field;
    if (part === '?') {
      if (index !== 3 && index !== 5) throw new RangeError(`'?' is only for day of month and day of week`);
      return '*';
    }
    return part.toUpperCase().split(',').map((item) => translate(item, field)).join(',');
  }).join(' ');
}

function translate(item: string, field: Field): string {
  if (item === '*') return '*';
  if (field.name === 'day of month' && /^(L|LW|\d{1,2}W)$/.test(item)) return item;
  if (field.name === 'day of week') {
    if (item === 'L') return '7';
    const special = /^(\w+?)(L|#[1-5])$/.exec(item);
    if (special) return `${numberIn(special[1] ?? '', field)}${special[2] === 'L' ? '#L' : special[2]}`;
  }
  const [range = '', step, ...more] = item.split('/');
  if (more.length > 0 || (step !== undefined && !/^[1-9]\d*$/.test(step))) throw new RangeError(`'${item}' is not a valid ${field.name}`);
  const suffix = step === undefined ? '' : `/${step}`;
  if (range === '*') return `*${suffix}`;
  const [from = '', to, ...rest] = range.split('-');
  if (rest.length > 0) throw new RangeError(`'${item}' is not a valid ${field.name}`);
  const low = numberIn(from, field);
  // `5/15` counts on from 5 to the field's end.
  if (to === undefined) return step === undefined ? String(low) : `${low}-${field.high}${suffix}`;
  const high = numberIn(to, field);
  if (low <= high) return `${low}-${high}${suffix}`;
  if (step !== undefined || field.name === 'year') throw new RangeError(`'${item}' runs backwards`);
  return `${low}-${field.high},${field.low}-${high}`;
}

function numberIn(word: string, field: Field): number {
  const named = field.words?.indexOf(word) ?? -1;
  const value = named >= 0 ? named + field.low : /^\d+$/.test(word) ? Number(word) : Number.NaN;
  if (!(value >= field.low && value <= field.high)) throw new RangeError(`'${word}' is not a valid ${field.name}`);
  return value;
}
