import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { statistics, windowEnd, windowStart } from '../../src/traffic/window.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

describe('windowStart', () => {
  it.each([
    ['2012-10-02T09:00:00Z', '2012-10-02T09:00:00Z'],
    ['2012-10-02T09:09:59.999Z', '2012-10-02T09:00:00Z'],
    ['2012-10-02T09:10:00Z', '2012-10-02T09:10:00Z'],
  ])('%s falls into the ten minutes from %s', (time, start) => {
    expect(windowStart(BigInt(Date.parse(time)) * 1000n, 10)).toBe(BigInt(Date.parse(start)) * 1000n);
  });

  it('holds its event time, and starts on a multiple of its length', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 60n), max: 2n ** 60n }), fc.constantFrom(1, 5, 10, 60, 1440, 2880), (time, minutes) => {
        const start = windowStart(time, minutes);
        expect(start <= time && time < windowEnd(start, minutes)).toBe(true);
        expect(start % (BigInt(minutes) * 60_000_000n)).toBe(0n);
      }),
    );
  });
});

describe('statistics', () => {
  it.each([
    [[5545n], { count: 1, sum: 5545n, mean: 5545, median: '5545.0', stddevSamp: null, min: 5545n, max: 5545n }],
    [[1n, 2n], { count: 2, sum: 3n, mean: 1.5, median: '1.5', stddevSamp: Math.SQRT1_2, min: 1n, max: 2n }],
    [[-1n, 0n], { count: 2, sum: -1n, mean: -0.5, median: '-0.5', stddevSamp: Math.SQRT1_2, min: -1n, max: 0n }],
    [[4n, 2n, 9n], { count: 3, sum: 15n, mean: 5, median: '4.0', stddevSamp: Math.sqrt(13), min: 2n, max: 9n }],
  ])('of the values %s', (values, expected) => {
    expect(statistics(values)).toEqual(expected);
  });

  it('refuses a window without records', () => {
    expect(() => statistics([])).toThrow(RangeError);
  });

  it('keeps the spread of huge neighbours, where doubles would see none', () => {
    const huge = 2n ** 63n - 4n;
    expect(statistics([huge, huge + 1n, huge + 2n]).stddevSamp).toBe(1);
  });

  it('does not depend on the order, and its exact parts fit together', () => {
    fc.assert(
      fc.property(fc.array(int64, { minLength: 1, maxLength: 50 }), (values) => {
        const found = statistics(values);
        expect(statistics(values.toReversed())).toEqual(found);
        const [whole = '', half = ''] = found.median.split('.');
        const doubled = BigInt(whole) * 2n + (half === '5' ? (found.median.startsWith('-') ? -1n : 1n) : 0n);
        const below = values.filter((value) => value * 2n < doubled).length;
        const above = values.filter((value) => value * 2n > doubled).length;
        expect(Math.max(below, above) * 2).toBeLessThanOrEqual(values.length);
        expect(found.min <= found.max && found.sum >= found.min * BigInt(found.count) && found.sum <= found.max * BigInt(found.count)).toBe(true);
        expect(values).toContain(found.min);
        expect(values).toContain(found.max);
        expect(found.stddevSamp === null || found.stddevSamp === 0).toBe(found.count === 1 || found.min === found.max);
      }),
    );
  });
});
