import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge, REASONS } from '../../src/traffic/event.ts';
import { generateTraffic, type TrafficOptions } from '../../src/traffic/generator.ts';

const fields = { timestamp: 'timestamp', value: '流量', key: 'key' };
const day = 86_400_000;
const base: TrafficOptions = { records: 2000, fromMillis: Date.UTC(2024, 0, 1), toMillis: Date.UTC(2024, 0, 3), seed: 7, badRatio: 0, keys: [], fields };
const judged = { fields, arrivedAtMillis: Date.UTC(2024, 0, 3), maxFutureMinutes: 1440 };

describe('generateTraffic', () => {
  it('gives the same records for a seed, and others for another', () => {
    const once = [...generateTraffic({ ...base, badRatio: 0.1, keys: ['a', 'b'] })];
    expect([...generateTraffic({ ...base, badRatio: 0.1, keys: ['a', 'b'] })]).toEqual(once);
    expect([...generateTraffic({ ...base, badRatio: 0.1, keys: ['a', 'b'], seed: 8 })]).not.toEqual(once);
  });

  it('labels every record as the judge does, inside the asked span, with the asked keys', () => {
    const options = fc.record({
      seed: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      badRatio: fc.double({ min: 0, max: 1, noNaN: true }),
      keys: fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 4 }),
      records: fc.integer({ min: 1, max: 300 }),
    });
    fc.assert(
      fc.property(options, (drawn) => {
        let produced = 0;
        for (const record of generateTraffic({ ...base, ...drawn })) {
          const verdict = judge(record.value, judged);
          const inSpan = 'value' in verdict && verdict.eventTimeMicros >= BigInt(base.fromMillis) * 1000n && verdict.eventTimeMicros < BigInt(base.toMillis) * 1000n;
          const found = 'error' in verdict ? { bad: verdict.error } : { bad: null, key: verdict.key, inSpan };
          expect(found).toEqual(record.bad === null ? { bad: null, key: record.key ?? '', inSpan: true } : { bad: record.bad });
          produced += 1;
        }
        expect(produced).toBe(drawn.records);
      }),
    );
  });

  it('makes bad records of every kind, about as many as asked', () => {
    const reasons = [...generateTraffic({ ...base, records: 20_000, badRatio: 0.05 })].map((record) => record.bad).filter((bad) => bad !== null);
    expect(new Set(reasons)).toEqual(new Set(REASONS));
    expect(reasons.length).toBeGreaterThan(850);
    expect(reasons.length).toBeLessThan(1150);
  });

  it('has a rhythm: a Monday afternoon carries several times a Monday night', () => {
    const means = [2, 17].map((hour) => {
      const values = [...generateTraffic({ ...base, fromMillis: base.fromMillis + hour * 3_600_000, toMillis: base.fromMillis + (hour + 1) * 3_600_000 })].map(
        (record) => Number(/:(\d+)}$/.exec(record.value ?? '')?.[1]),
      );
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    });
    expect((means[1] as number) / (means[0] as number)).toBeGreaterThan(4);
    expect(base.toMillis - base.fromMillis).toBe(2 * day);
  });
});
