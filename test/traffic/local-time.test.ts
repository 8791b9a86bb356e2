import { describe, expect, it } from 'vitest';
import { isTimeZone, toUtc } from '../../src/traffic/local-time.ts';

describe('toUtc', () => {
  it.each([
    ['2012-10-02 09:00:00', 'UTC', '2012-10-02T09:00:00Z'],
    ['2012-10-02T09:00', 'UTC', '2012-10-02T09:00:00Z'],
    ['2012-10-02', 'UTC', '2012-10-02T00:00:00Z'],
    ['2012-10-02 09:00:00.123456', 'UTC', '2012-10-02T09:00:00.123456Z'],
    ['2012-10-02 09:00:00', 'America/Chicago', '2012-10-02T14:00:00Z'],
    ['2012-12-02 09:00:00.5', 'America/Chicago', '2012-12-02T15:00:00.5Z'],
    // The hour that autumn repeats is its first pass, the hour that spring leaves out is read with winter's offset.
    ['2024-10-27 02:30:00', 'Europe/Berlin', '2024-10-27T00:30:00Z'],
    ['2024-10-27 03:00:00', 'Europe/Berlin', '2024-10-27T02:00:00Z'],
    ['2024-03-31 02:30:00', 'Europe/Berlin', '2024-03-31T01:30:00Z'],
    ['2024-03-31 03:00:00', 'Europe/Berlin', '2024-03-31T01:00:00Z'],
    ['2024-07-01 12:00:00', 'Asia/Kathmandu', '2024-07-01T06:15:00Z'],
    ['2012-10-02T09:00:00+01:00', 'Asia/Tokyo', '2012-10-02T09:00:00+01:00'],
    ['1700000000', 'Asia/Tokyo', '1700000000'],
    ['yesterday', 'Asia/Tokyo', 'yesterday'],
    ['2023-02-30 00:00:00', 'UTC', '2023-02-30T00:00:00Z'],
  ])('%s in %s is %s', (text, zone, utc) => {
    expect(toUtc(text, zone)).toBe(utc);
  });

  it('knows which zones there are', () => {
    expect(['UTC', 'Europe/Berlin', 'Mars/Olympus'].map(isTimeZone)).toEqual([true, true, false]);
  });
});
