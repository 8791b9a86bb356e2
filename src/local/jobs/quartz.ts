import { Cron } from 'croner';
import { messageOf } from '../../errors.ts';

/** The next moment (epoch ms) after `afterMs` that a Quartz expression names in a time zone; undefined if there is none. */
export type NextFire = (afterMs: number) => number | undefined;

/** Lowest and highest value of the fields whose ranges may wrap; names count from the lowest. */
const wrapping: Record<number, [low: number, high: number, names?: string]> = { 0: [0, 59], 1: [0, 59], 2: [0, 23], 3: [1, 31], 4: [1, 12, 'JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC'], 5: [1, 7, 'SUNMONTUEWEDTHUFRISAT'] };

/** Reads a Quartz cron expression; RangeError for what Quartz refuses and for the little that cannot be computed here (`L-3`). */
export function quartz(expression: string, timezone: string): NextFire {
  try {
    const cron = new Cron(cronPattern(expression), { timezone, mode: '6-or-7-parts', alternativeWeekdays: true, sloppyRanges: true, paused: true });
    const next: NextFire = (afterMs) => cron.nextRun(new Date(afterMs))?.getTime();
    next(0);
    return next;
  } catch (error) {
    throw new RangeError(`Invalid schedule: '${expression}' in time zone '${timezone}': ${messageOf(error)}`, { cause: error });
  }
}

/** What croner does not know of Quartz, or is too generous with: `?`, ranges that wrap, the last day of a week, and limits. */
function cronPattern(expression: string): string {
  const parts = expression.trim().toUpperCase().split(/\s+/);
  if ((parts[3] === '?') === (parts[5] === '?')) throw new RangeError("exactly one of day of month and day of week must be '?'");
  if (parts.some((part, index) => part.includes('?') && (part !== '?' || (index !== 3 && index !== 5)))) throw new RangeError("'?' is only for day of month and day of week");
  if (/\b[089]|\d{2}/.test(parts[5] ?? '')) throw new RangeError(`'${parts[5]}' is not a valid day of week`);
  if (parts[6] !== undefined && (parts[6].match(/\d{4}/g) ?? []).some((year) => year < '1970' || year > '2099')) throw new RangeError('a year is from 1970 to 2099');
  return parts.map((part, index) => part.split(',').map((item) => (index === 5 && item === 'L' ? '7' : unwrapped(item, index))).join(',')).join(' ');
}

function unwrapped(item: string, index: number): string {
  const [, from = '', to = ''] = /^(\w+)-(\w+)$/.exec(item) ?? [];
  const [low, high, names = ''] = wrapping[index] ?? [0, 0];
  const valueOf = (word: string) => (/^\d+$/.test(word) ? Number(word) : names.indexOf(word) / 3 + low);
  return valueOf(from) > valueOf(to) ? `${from}-${high},${low}-${to}` : item;
}
