import { describe, expect, it } from 'vitest';
import type { Context } from '../../src/command.ts';
import type { Workspace } from '../../src/databricks/client.ts';
import { tableNames } from '../../src/databricks/tables.ts';
import type { Elasticsearch } from '../../src/elasticsearch/connect.ts';
import type { Parties } from '../../src/windows/rebuild.ts';
import { swapWhenCurrent } from '../../src/windows/swap.ts';
import { configOf } from '../databricks/fixtures.ts';
import { warehouse } from '../databricks/warehouse.ts';

const tables = tableNames({ catalog: 'c', schema: 's' });

/** A job beside the rebuild: `publishes` is told when the controller asks which runs are under way, and answers with them. */
function world(publishes: (asked: number, versions: Record<string, number>) => number[]) {
  const versions: Record<string, number> = { raw: 7, windows: 3 };
  const properties: Record<string, Record<string, string>> = { windows: { 'streamgauge.window_minutes': '10' }, windows_rebuilt: { 'streamgauge.window_minutes': '5', 'streamgauge.raw_version': '7', 'streamgauge.windows_version': '3' } };
  const said = { caughtUp: 0, notes: [] as string[], warnings: [] as string[] };
  const sql = warehouse(versions, properties);
  let asked = 0;
  const request = async ({ path }: { path: string }): Promise<unknown> => {
    if (path.endsWith('/jobs/runs/list')) return { runs: publishes((asked += 1), versions).map((run_id) => ({ run_id, state: {} })) };
    return path.endsWith('/Me') ? { userName: 'ada' } : Buffer.from('{}');
  };
  const workspace = { host: 'h', request, withSignal: () => workspace } as unknown as Workspace;
  const compute = async ({ action }: Record<string, string>) => {
    expect(action).toBe('catch_up');
    said.caughtUp += 1;
    Object.assign(properties.windows_rebuilt as object, { 'streamgauge.raw_version': String(versions.raw), 'streamgauge.windows_version': String(versions.windows) });
    return undefined as never;
  };
  const parties: Parties = { workspace, sql, elasticsearch: {} as Elasticsearch, tables, compute, jobId: 1 };
  const progress = { stage: () => undefined, update: () => undefined, note: (text: string) => said.notes.push(text), warn: (text: string) => said.warnings.push(text) };
  const pipeline = { ...configOf().pipeline, window_minutes: 10 };
  const context = { config: configOf({ pipeline }), progress, signal: new AbortController().signal } as unknown as Context;
  return { said, sql, properties, swap: () => swapWhenCurrent(context, parties, undefined, 60_000) };
}

describe('a rebuild beside a job that goes on', () => {
  it('swaps at once where nothing happened', async () => {
    const { said, properties, swap } = world(() => []);
    await swap();
    expect([said.caughtUp, properties.windows]).toEqual([0, { 'streamgauge.window_minutes': '5' }]);
    expect(said.warnings).toEqual([expect.stringContaining('set it to 5 in databricks.yml')]);
  });

  it('waits for a run to end, and takes in what it published', async () => {
    const { said, properties, swap } = world((asked, versions) => {
      if (asked === 1) Object.assign(versions, { raw: 9, windows: 5 });
      return asked === 1 ? [4711] : [];
    });
    await swap();
    expect([said.caughtUp, properties.windows]).toEqual([1, { 'streamgauge.window_minutes': '5' }]);
  });

  it('takes its mark back where a run began just before it, and tries again', async () => {
    // Asked once whether all is quiet, and once more behind the mark.
    const { said, properties, swap } = world((asked) => (asked === 2 ? [4711] : []));
    await swap();
    expect([said.caughtUp, properties.windows]).toEqual([1, { 'streamgauge.window_minutes': '5' }]);
  });

  it('gives up where there is no end to it, and leaves everything as it was', async () => {
    const { sql, properties, swap } = world((asked, versions) => {
      versions.raw = asked + 7;
      return [];
    });
    await expect(swap()).rejects.toMatchObject({ code: 'REBUILD_NOT_CURRENT', exitCode: 4, hint: expect.stringContaining('schedule') });
    expect(properties.windows).toEqual({ 'streamgauge.window_minutes': '10' });
    expect(sql.said.filter((statement) => !statement.startsWith('ALTER TABLE'))).toEqual([]);
  });
});
