import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { createProject, type Project } from '../acceptance/project.ts';

let project: Project;
beforeAll(async () => {
  project = createProject('produce', { topics: 'produce_a,produce_b', partitions: 2 });
  await project.json(['provision']);
}, 300_000);

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((total, n) => total + n, 0);

describe('streamgauge produce', () => {
  it('generates what was asked for, and says what each partition acknowledged', async () => {
    const args = ['produce', '--records', '20000', '--from', '2026-01-05', '--to', '2026-01-06', '--seed', '3', '--bad-ratio', '0.01'];
    const result = await project.json(args);
    expect(result).toMatchObject({ topic: 'produce_a', records: 20_000, interrupted: false, skipped: { count: 0 } });
    expect(sum(result.bad)).toBeGreaterThan(150);
    expect(result.partitions.map((partition: any) => [partition.partition, partition.firstOffset])).toEqual([[0, 0], [1, 0]]);
    expect(result.partitions.reduce((total: number, { records }: any) => total + records, 0)).toBe(20_000);
    for (const { records, lastOffset } of result.partitions) expect(lastOffset).toBe(records - 1);
    expect((await project.json([...args, '--topic', 'produce_b'])).bad).toEqual(result.bad);
  });

  it('keeps to a rate', async () => {
    const result = await project.json(['produce', '--records', '300', '--rate', '200']);
    expect(result.records).toBe(300);
    expect(result.seconds).toBeGreaterThan(1.4);
  });

  it('skips lines that cannot be read, naming each with its number', async () => {
    const lines = ['{"timestamp":1700000000,"流量":1}', 'not json', '{"timestamp":1700000000,"流量":1.5}', '', '{"timestamp":"2023-11-14T22:13:20Z","流量":2}'];
    writeFileSync(join(project.folder, 'events.ndjson.gz'), gzipSync(lines.join('\n')));
    const { code, stdout, stderr } = await project.cli(['produce', '--file', 'events.ndjson.gz', '--json']);
    expect(code).toBe(0);
    expect(stderr).toContain('events.ndjson.gz:2: not_json, skipped');
    expect(JSON.parse(stdout)).toMatchObject({ records: 2, skipped: { count: 2, reasons: { not_json: 1, value_not_integer: 1 }, first: [{ line: 2, error: 'not_json' }, { line: 3, error: 'value_not_integer' }] } });
  });

  it('stops at the first such line with --strict, and says how much was acknowledged before', async () => {
    const good = '{"timestamp":1700000000,"流量":1}\n';
    const { code, stderr } = await project.cli(['produce', '--file', '-', '--strict'], { input: `${good.repeat(3)}{"timestamp":1700000000}\n${good}` });
    expect(code).toBe(2);
    expect(stderr).toMatch(/stdin:4: missing_value; 3 records were acknowledged before; produce_a\/\d up to offset \d+/);
  });

  it('reads CSV with keys in a zone of its own', async () => {
    writeFileSync(join(project.folder, 'counts.csv'), 'when,site,cars\n2026-01-05 08:00:00,A,10\n2026-01-05 08:10:00,A,x\n');
    const result = await project.json(['produce', '--file', 'counts.csv', '--timestamp-column', 'when', '--value-column', 'cars', '--key-column', 'site', '--time-zone', 'Europe/Berlin']);
    expect(result).toMatchObject({ records: 1, skipped: { count: 1, first: [{ line: 3, error: 'value_not_integer' }] } });
  });

  it('stops cleanly on Ctrl-C: what was sent is acknowledged and told', async () => {
    let asked = false;
    const { code, stdout } = await project.cli(['produce', '--records', '10000000', '--rate', '1000', '--json'], {
      onStderr(text, kill) {
        if (asked || !text.includes('produce to')) return;
        asked = true;
        setTimeout(() => kill('SIGINT'), 3000);
      },
    });
    const result = JSON.parse(stdout);
    expect([code, result.interrupted]).toEqual([130, true]);
    expect(result.records).toBeGreaterThan(0);
    expect(result.partitions.reduce((total: number, { records }: any) => total + records, 0)).toBe(result.records);
  });

  it('names a topic that has not been provisioned, with the command that does it', async () => {
    const { code, stderr } = await project.cli(['produce', '--records', '1', '--var', 'topics=produce_missing']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('streamgauge provision -t local');
  });
});
