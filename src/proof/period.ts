import { Failure } from '../errors.ts';
import { parseTimestamp } from '../traffic/event.ts';
import { windowEnd, windowStart } from '../traffic/window.ts';

/** `--from` and `--to` as whole windows, epoch microseconds, `to` exclusive: a window that reaches into the period belongs to it. */
export function periodOf(minutes: number, { from, to }: { from?: string | undefined; to?: string | undefined }, verb: string): { from: bigint | undefined; to: bigint | undefined } {
  const first = from === undefined ? undefined : windowStart(instant('--from', from), minutes);
  const last = to === undefined ? undefined : windowEnd(windowStart(instant('--to', to) - 1n, minutes), minutes);
  if (first !== undefined && last !== undefined && first >= last) throw new Failure({ code: 'USAGE', kind: 'usage', message: '--from must lie before --to', hint: `See \`streamgauge ${verb} --help\`.` });
  return { from: first, to: last };
}

function instant(option: string, text: string): bigint {
  const micros = parseTimestamp(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (micros !== undefined && micros >= 0n) return micros;
  throw new Failure({ code: 'USAGE', kind: 'usage', message: `${option} ${JSON.stringify(text)} is no time`, hint: 'Give ISO 8601 with a zone (2026-05-01T00:00:00Z), a date, or epoch seconds.' });
}
