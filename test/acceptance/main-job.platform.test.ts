import { beforeAll, describe, expect, it } from 'vitest';
import { judge } from '../../src/traffic/event.ts';
import { statistics, windowStart } from '../../src/traffic/window.ts';
import { createProject, type Project } from './project.ts';

// The main job as a user runs it, verb by verb, each verb twice where doing it again must change nothing.
describe('the main job', () => {
  let project: Project;
  const results: Record<string, any> = {};

  beforeAll(async () => {
    project = createProject('main');
    results.provision = await project.json(['provision']);
    results.provisionAgain = await project.json(['provision']);
    results.produce = await project.json(['produce', '--records', '20000', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-06T00:00:00Z', '--seed', '7', '--keys', '3', '--bad-ratio', '0.01']);
    results.deploy = await project.json(['deploy']);
    results.deployAgain = await project.json(['deploy']);
    results.run = await project.json(['run']);
    results.export = await project.json(['export']);
    results.exportAgain = await project.json(['export']);
    results.status = await project.json(['status']);
  }, 600_000);

  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;

  it('provisions once', () => {
    expect(results.provision.changed).toBe(true);
    expect(results.provisionAgain.changed).toBe(false);
  });

  it('deploys once', () => {
    expect(results.deploy.changed).toBe(true);
    expect(results.deployAgain).toMatchObject({ changed: false, steps: [] });
  });

  it('keeps every record that the broker acknowledged, the bad ones with their reasons', async () => {
    expect(results.produce.records).toBe(20_000);
    const [[all, bad, positions]] = (await rows('SELECT count(*), count(error), count(DISTINCT topic, partition, offset) FROM raw')) as [number[]];
    expect([all, positions]).toEqual([20_000, 20_000]);
    expect(bad).toBeGreaterThan(100);
    expect(bad).toBeLessThan(300);
  });

  it('publishes exactly the windows that the oracle computes from raw', async () => {
    const raw = await rows('SELECT base64(payload) AS payload, unix_millis(broker_timestamp) AS arrived FROM raw');
    const byWindow = new Map<string, bigint[]>();
    for (const [payload, arrived] of raw) {
      const verdict = judge(payload === null ? null : Buffer.from(payload, 'base64'), {
        fields: { timestamp: 'timestamp', value: '流量', key: 'key' },
        arrivedAtMillis: Number(arrived),
        maxFutureMinutes: 1440,
      });
      if ('error' in verdict) continue;
      const id = `${verdict.key} ${windowStart(verdict.eventTimeMicros, 10)}`;
      byWindow.set(id, [...(byWindow.get(id) ?? []), verdict.value]);
    }
    const published = await rows('SELECT key, unix_micros(window_start) AS start, count, CAST(sum AS STRING) AS sum, mean, CAST(median AS STRING) AS median, stddev_samp, min, max FROM windows');
    expect(published.length).toBe(byWindow.size);
    for (const [key, start, count, sum, mean, median, deviation, min, max] of published) {
      const expected = statistics(byWindow.get(`${key} ${start}`) ?? []);
      expect({ count, sum, median, min, max }).toEqual({
        count: expected.count,
        sum: String(expected.sum),
        median: expected.median,
        min: Number(expected.min),
        max: Number(expected.max),
      });
      expect(Math.abs(mean - expected.mean)).toBeLessThanOrEqual(1e-9 * Math.abs(expected.mean));
      expect(deviation === null).toBe(expected.stddevSamp === null);
      expect(Math.abs((deviation ?? 0) - (expected.stddevSamp ?? 0))).toBeLessThanOrEqual(1e-9 * Math.max(1, expected.stddevSamp ?? 0));
    }
  });

  it('exports each window once', () => {
    expect(results.export.written).toBeGreaterThan(0);
    expect(results.exportAgain.written).toBe(0);
  });

  it('says how far behind it is: not at all', async () => {
    const [[windows]] = (await rows('SELECT count(*) FROM windows')) as [number[]];
    expect(results.status).toMatchObject({ windows, documents: windows });
  });
});
