import { describe, expect, it } from 'vitest';
import { cronPattern, quartz } from '../../../../src/local/facades/jobs/quartz.ts';

// 2026-01-05 is a Monday.
const from = Date.parse('2026-01-05T10:00:00Z');

describe('quartz', () => {
  it.each([
    ['0 0/10 * * * ?', ['2026-01-05T10:10', '2026-01-05T10:20']],
    ['0 5/20 10 * * ?', ['2026-01-05T10:05', '2026-01-05T10:25']],
    ['0 15 10 ? * MON-FRI', ['2026-01-05T10:15', '2026-01-06T10:15']],
    ['0 0 12 ? * 2', ['2026-01-05T12:00', '2026-01-12T12:00']],
    ['0 0 12 ? * SUN,sat', ['2026-01-10T12:00', '2026-01-11T12:00']],
    ['0 0 0 ? * FRI-MON', ['2026-01-09T00:00', '2026-01-10T00:00']],
    ['0 0 22-1 * * ?', ['2026-01-05T22:00', '2026-01-05T23:00']],
    ['0 0 12 1/5 * ?', ['2026-01-06T12:00', '2026-01-11T12:00']],
    ['0 0 0 L * ?', ['2026-01-31T00:00', '2026-02-28T00:00']],
    ['0 0 0 LW * ?', ['2026-01-30T00:00', '2026-02-27T00:00']],
    ['0 0 0 15W * ?', ['2026-01-15T00:00', '2026-02-16T00:00']],
    ['0 15 10 ? * 6L', ['2026-01-30T10:15', '2026-02-27T10:15']],
    ['0 15 10 ? * 6#3', ['2026-01-16T10:15', '2026-02-20T10:15']],
    ['0 0 0 ? * L', ['2026-01-10T00:00', '2026-01-17T00:00']],
    ['0 0 0 1 JAN ? 2027-2028', ['2027-01-01T00:00', '2028-01-01T00:00']],
  ])('%s', (expression, expected) => {
    const next = quartz(expression, 'UTC');
    const first = next(from) ?? 0;
    expect([first, next(first)].map((ms) => new Date(ms ?? 0).toISOString().slice(0, 16))).toEqual(expected);
  });

  it('never fires again after its last year', () => {
    expect(quartz('0 0 0 1 1 ? 2025', 'UTC')(from)).toBeUndefined();
  });

  it.each(['0 0 * * *', '0 0 0 * * *', '0 0 0 ? * ?', '60 0 0 * * ?', '0 0 0 L-3 * ?', '0 0 0 ? * 8', '0 0 0 ? * MOO', '? 0 0 * * ?', '0 0/0 0 * * ?', '0 0 0 1 1 ? 1969', '0 0 9-17/2/3 * * ?', 'hello'])('refuses %s', (expression) => {
    expect(() => quartz(expression, 'UTC')).toThrow(/Invalid schedule/);
  });

  it('writes every step with its range', () => {
    expect(cronPattern('0/15 * 8-18/2 ? FEB 2#1 2026/2')).toBe('0-59/15 * 8-18/2 * 2 2#1 2026-2099/2');
  });
});
