import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { allDocuments, type StoredWindow } from '../../src/elasticsearch/read.ts';
import { repository } from '../config/bundle.ts';
import { createProject, type Project } from './project.ts';

const data = join(repository, '..', 'shared', 'data');
const counts = join(data, 'metro_traffic_hourly.csv.gz');
const isThere = existsSync(counts);
const WINDOWS = 40_575;

// Six years of a real road, through every stage, against statistics that Python computed.
describe.skipIf(!isThere)(`real input${isThere ? '' : `: skipped, ${counts} is not there`}`, () => {
  let project: Project;
  let elasticsearch: Elasticsearch;
  const results: Record<string, any> = {};

  beforeAll(async () => {
    project = createProject('metro');
    await project.json(['provision']);
    results.produce = await project.json(['produce', '--file', counts, '--timestamp-column', 'date_time', '--value-column', 'traffic_volume']);
    // One more, in a window of its own, with a value that an index of 32-bit integers must refuse.
    results.huge = await project.json(['produce', '--file', '-'], { input: '{"timestamp":"2020-01-01T00:00:00Z","流量":1099511627776}\n' });
    await project.json(['deploy']);
    await project.json(['run']);
    results.export = await project.json(['export']);
    elasticsearch = await openElasticsearch(loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true }));
  }, 600_000);
  afterAll(async () => await elasticsearch?.close());

  it('is acknowledged line by line', () => {
    expect(results.produce).toMatchObject({ records: 48_204, skipped: { count: 0 } });
    expect(results.huge).toMatchObject({ records: 1 });
  });

  it('becomes exactly the windows that are expected, digit by digit', async () => {
    expect(results.export).toMatchObject({ read: WINDOWS + 1, written: WINDOWS + 1, unchanged: 0, rejectedCount: 0 });
    const documents = (await Array.fromAsync(allDocuments(elasticsearch, 'traffic_windows_metro'))).flat();
    const byStart = new Map(documents.map((document) => [document.windowStart, document]));
    const lines = gunzipSync(readFileSync(join(data, 'metro_windows_expected.csv.gz'))).toString().trim().split(/\r?\n/).slice(1);
    expect([lines.length, documents.length]).toEqual([WINDOWS, WINDOWS + 1]);
    const wrong = lines.filter((line) => !isEqual(line, byStart.get(line.split(',')[0] ?? '')));
    expect(wrong).toEqual([]);
  });

  it('is exported once: again writes nothing, and neither does a full export', async () => {
    expect(await project.json(['export'])).toMatchObject({ read: 0, written: 0, unchanged: 0 });
    expect(await project.json(['export', '--full'])).toMatchObject({ read: WINDOWS + 1, written: 0, unchanged: WINDOWS + 1 });
  });

  it('arrives but for the one document that the index refuses, which is named and tried again', async () => {
    const index = 'traffic_windows_metro_narrow';
    await elasticsearch.request('making a narrow index', { method: 'PUT', path: `/${index}`, body: { mappings: { properties: { max: { type: 'integer' } } } } });
    const narrow = ['export', '--var', `index=${index}`];
    const first = await project.json(narrow, { code: 6 });
    expect(first).toMatchObject({ written: WINDOWS, rejectedCount: 1, rejected: [{ id: 'traffic_metro//2020-01-01T00:00:00Z', status: 400 }] });
    expect(await project.json(narrow, { code: 6 })).toMatchObject({ written: 0, rejectedCount: 1 });
    const { code, stdout } = await project.cli(narrow);
    expect([code, stdout]).toEqual([6, expect.stringContaining('traffic_metro//2020-01-01T00:00:00Z')]);
  });
});

function isEqual(line: string, found: StoredWindow | undefined): boolean {
  const [, count, sum, mean, median, deviation = '', min, max] = line.split(',');
  if (found === undefined) return false;
  const exact = [String(found.count), String(found.sum), found.median, String(found.min), String(found.max)].join() === [count, sum, median, min, max].join();
  return exact && isNear(found.mean, Number(mean)) && (deviation === '' ? found.stddevSamp === null : isNear(found.stddevSamp ?? '', Number(deviation)));
}

function isNear(found: string, expected: number): boolean {
  return found !== '' && Math.abs(Number(found) - expected) <= 1e-9 * Math.abs(expected);
}
