import { describe, expect, it } from 'vitest';
import type { Context } from '../../src/command.ts';
import { produce } from '../../src/commands/produce.ts';
import type { Config } from '../../src/config/config.ts';
import { pipelineSchema } from '../../src/config/schema.ts';
import { readYaml } from '../../src/config/document.ts';
import { repository } from '../config/bundle.ts';
import { join } from 'node:path';

const variables = (readYaml(repository, join(repository, 'databricks.yml'), []).value as { variables: Record<string, { default: unknown }> }).variables;
const defaults = Object.fromEntries(Object.entries(variables).map(([name, { default: value }]) => [name, String(value)]));
const pipeline = pipelineSchema.parse({ ...defaults, topics: 'north,south' });
const ignore = (): void => undefined;
const context: Context = { config: { pipeline, target: 'dev' } as Config, progress: { stage: ignore, update: ignore, note: ignore, warn: ignore }, signal: new AbortController().signal };

// Each is found before anything outside is asked.
describe('produce refuses', () => {
  it.each<[string, Parameters<typeof produce.run>[1], RegExp]>([
    ['a topic that is not configured', { topic: 'west' }, /"west" is not among the configured ones: north, south/],
    ['a time that is none', { from: 'yesterday' }, /--from "yesterday" is no time/],
    ['a time without a zone', { to: '2026-05-01T00:00:00' }, /--to "2026-05-01T00:00:00" is no time/],
    ['an empty span', { from: '2026-05-02', to: '2026-05-02' }, /--from must lie before --to/],
    ['a generator and a file', { file: 'x.ndjson', records: 5, badRatio: 0.1 }, /--records, --bad-ratio shape generated records and do not go with --file/],
    ['columns without a file', { timestampColumn: 'a', valueColumn: 'b' }, /--timestamp-column, --value-column need --file/],
    ['one column of two', { file: 'x.csv', timestampColumn: 'a' }, /needs --timestamp-column and --value-column/],
    ['a zone for NDJSON', { file: 'x.ndjson', timeZone: 'UTC' }, /needs --timestamp-column and --value-column/],
    ['a zone that is not on this planet', { file: 'x.csv', timestampColumn: 'a', valueColumn: 'b', timeZone: 'Mars/Olympus' }, /no time zone "Mars\/Olympus"/],
    ['a CSV whose columns are not named', { file: 'counts.CSV.gz' }, /looks like CSV, and its columns are not named/],
  ])('%s', async (_name, options, message) => {
    await expect(produce.run(context, options)).rejects.toMatchObject({ code: 'USAGE', exitCode: 2, message: expect.stringMatching(message), hint: expect.stringMatching(/./) });
  });
});
