import { describe, expect, it } from 'vitest';
import { minutesOf, windows } from '../../src/commands/windows.ts';
import { periodOf } from '../../src/proof/period.ts';
import type { Compared, Rebuilt } from '../../src/windows/rebuild.ts';

describe('--window', () => {
  it.each([['5m', 5], ['5', 5], ['60min', 60], ['1h', 60], ['1d', 1440], ['2d', 2880], [' 10m ', 10]])('%s is %i minutes', (text, minutes) => expect(minutesOf(text)).toBe(minutes));
  it.each(['7m', '0m', '', 'm', '-5m', '1.5h', '5 apples', '25h', '1e3'])('%j is refused: windows of that length would not fit a day', (text) => {
    expect(() => minutesOf(text)).toThrow(expect.objectContaining({ code: 'USAGE', exitCode: 2 }));
  });
});

describe('a period', () => {
  it('is made of whole windows', () => {
    const hour = 3_600_000_000n;
    const day = BigInt(Date.UTC(2026, 0, 5)) * 1000n;
    expect(periodOf(60, { from: '2026-01-05T01:30:00Z', to: '2026-01-05T03:00:00.5Z' }, 'prove')).toEqual({ from: day + hour, to: day + 4n * hour });
    expect(periodOf(60, { to: '2026-01-06' }, 'prove')).toEqual({ from: undefined, to: day + 24n * hour });
  });
  it.each([[{ from: 'yesterday' }], [{ from: '2026-01-06', to: '2026-01-05' }]])('%j is refused', (given) => expect(() => periodOf(10, given, 'prove')).toThrow(expect.objectContaining({ code: 'USAGE' })));
});

describe('what a rebuild says', () => {
  const compared = (counts: Partial<Compared['compared']>, minutes = { published: 10, rebuilt: 10, compared: 10 }): Compared => ({
    minutes,
    published: { windows: 3, records: 9, total: '45', held: 1 },
    rebuilt: { windows: 3, records: 10, total: '50', held: 0 },
    compared: { equal: 2, different: 0, new: 0, gone: 0, ...counts },
    fields: counts.different ? { count: 1, sum: 1 } : {},
    differences: counts.different ? [{ topic: 't', key: 'a', window_start: '2026-01-05 12:00:00', state: 'different', fields: 'count: 2 -> 3' }] : [],
    judged: { records: 0, outside: 0, replayed: 0, verdicts: [] },
  });
  const rebuilt = (more: Partial<Rebuilt>): Rebuilt => ({ did: 'rebuild', swapped: false, dryRun: false, minutes: 10, compared: null, index: null, seconds: 1, ...more });
  const text = (result: Rebuilt): string => JSON.stringify(windows.render(result));

  it('a dry run is a check: 6 where it differs', () => {
    expect(windows.exitCode?.(rebuilt({ dryRun: true, compared: compared({}) }))).toBe(0);
    for (const state of ['different', 'new', 'gone']) expect(windows.exitCode?.(rebuilt({ dryRun: true, compared: compared({ [state]: 1 }) }))).toBe(6);
    const judged = { records: 1, outside: 0, replayed: 0, verdicts: [{ was: 'not_json', is: 'not_an_object', records: 1 }] };
    expect(windows.exitCode?.(rebuilt({ dryRun: true, compared: { ...compared({}), judged } }))).toBe(6);
    expect(windows.exitCode?.(rebuilt({ swapped: true, compared: compared({ different: 1 }) }))).toBe(0);
  });

  it('counts what differs by field, and names it', () => {
    expect(text(rebuilt({ dryRun: true, compared: compared({ different: 1 }) }))).toMatch(/1 held back.*windows: 2 equal, 1 different \(count 1, sum 1\), 0 new, 0 gone.*count: 2 -> 3.*Nothing was swapped/);
    const judged = { records: 3, outside: 2, replayed: 1, verdicts: [{ was: 'value_not_integer', is: null, records: 2 }, { was: null, is: 'key_not_text', records: 1 }] };
    expect(text(rebuilt({ dryRun: true, compared: { ...compared({}), judged } }))).toMatch(/3 records \(value_not_integer -> good 2, good -> key_not_text 1\).*2 more belong.*1 in quarantine would be good/);
    expect(text(rebuilt({ compared: compared({}, { published: 10, rebuilt: 15, compared: 30 }), swapped: true, minutes: 15, index: 'i-000002' }))).toMatch(/stretches of 30 minutes: 2 equal.*Swapped: windows of 15 minutes are published.*i-000002.*--rollback/);
  });
});
