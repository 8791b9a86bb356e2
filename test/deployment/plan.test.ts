import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Observed } from '../../src/deployment/plan.ts';
import { driftOf, planDeployment } from '../../src/deployment/plan.ts';
import { sentence, worst } from '../../src/deployment/step.ts';
import { CODE_TAG, codeTag } from '../../src/databricks/code.ts';
import { DEFINITIONS, requiredColumns } from '../../src/databricks/shapes.ts';
import { EMPTY_STATE } from '../../src/databricks/state.ts';
import { NOTHING, applied, configurations, place, wantedOf, withJobs } from './model.ts';

const deployed = (given: Parameters<typeof wantedOf>[0] = {}, more: Partial<Observed> = {}): Observed => {
  const wanted = wantedOf(given);
  return { ...applied(wanted, NOTHING, planDeployment(wanted, NOTHING)), ...more };
};
const brief = (wanted: ReturnType<typeof wantedOf>, found: Observed): string[] => planDeployment(wanted, found).map(({ action, thing, risk }) => `${action} ${thing}: ${risk}`);
/** The table `windows` as the job makes it, with windows of this length. */
const windowsOf = (minutes: number): Observed['shapes'] => ({ windows: { columns: Object.fromEntries(Object.entries(DEFINITIONS.windows.columns).map(([name, type]) => [name, type.replace(' not null', '')])), clusteredBy: DEFINITIONS.windows.clusteredBy, partitionedBy: [], windowMinutes: minutes, notNull: requiredColumns('windows'), nulls: {} } });
const run = { key: 'traffic', jobId: 1, runId: 7 };

describe('one plan from broker to index', () => {
  it('makes everything, each thing after what it needs', () => {
    const things = planDeployment(wantedOf(), NOTHING).map(({ thing }) => thing);
    expect([...new Set(things)]).toEqual(['configuration', 'cluster', 'key', 'secret', 'association', 'topic', 'rights', 'secret scope', 'secrets', 'folder', 'notebook', 'job', 'index template']);
  });

  it.each<[string, Parameters<typeof wantedOf>[0], Partial<Observed>, string[]]>([
    ['nothing', {}, {}, []],
    ['more partitions', { partitions: 4 }, {}, ['change topic: irreversible']],
    ['a shorter retention', { retention_hours: 1 }, {}, ['change topic: loses data']],
    ['a longer retention', { retention_hours: 48 }, {}, ['change topic: safe']],
    ['another number of copies that must have a record', { min_insync_replicas: 2 }, {}, ['change cluster: restarts stream', 'change topic: safe']],
    ['brokers that were set to something else', {}, { configuration: { attached: { 'auto.create.topics.enable': 'true' }, own: undefined } }, ['change cluster: restarts stream']],
    ['another topic', { topics: ['t', 'u'] }, {}, ['create topic: safe', 'create rights: safe']],
    ['another notebook while nothing runs', { notebooks: { ingest: '2' } }, {}, ['change notebook: safe']],
    ['another notebook under a run', { notebooks: { ingest: '2' } }, { activeRuns: [run] }, ['change notebook: safe', 'restart run: restarts stream']],
    ['a run with the deployed code', {}, { activeRuns: [run] }, []],
    ['another window with data there', { window_minutes: 5 }, { tables: ['raw'] }, ['change job: re-reads data']],
    ['another window before there is data', { window_minutes: 5 }, { tables: [] }, ['change job: safe']],
    ['another window where nobody could look', { window_minutes: 5 }, { tables: undefined }, ['change job: re-reads data']],
    ['the length of the windows that are published', { window_minutes: 5 }, { tables: ['raw'], shapes: windowsOf(5) }, ['change job: safe']],
    ['another tag', { tags: { team: 'x' } }, { tables: ['raw'] }, ['change job: safe']],
    ['another index', { index: 'j' }, { template: undefined }, ['create index template: safe']],
    ['a template changed by hand', {}, { template: { ...deployed().template, priority: 1 } }, ['change index template: safe']],
  ])('%s', (_name, given, found, expected) => expect(brief(wantedOf(given), deployed({}, found))).toEqual(expected));

  it('a run that went on while its code changed is restarted by the next deployment, too', () => {
    const found = deployed({}, { activeRuns: [run, { ...run, runId: 8 }] });
    const state = { ...found.workspace.state, code: { traffic: { hash: 'h', staleRuns: [7] } } };
    expect(planDeployment(wantedOf(), { ...found, workspace: { ...found.workspace, state } })).toMatchObject([{ action: 'restart', name: '7' }]);
  });

  it('leaves a run alone whose own job did not change', () => {
    const tasks = (...names: string[]) => names.map((name) => ({ task_key: name, notebook_task: { notebook_path: `${place.files}/notebooks/${name}` } }));
    const twoJobs = (code: string, settings = {}) => {
      const wanted = wantedOf({ notebooks: { ingest: '1', other: code } });
      const [job] = wanted.workspace.jobs;
      return { ...wanted, workspace: withJobs(wanted.workspace, [{ key: 'traffic', settings: { ...job?.settings, name: 'traffic', tasks: tasks('ingest') } }, { key: 'other', settings: { name: 'other', schedule: { quartz_cron_expression: '0 0 * * * ?' }, tasks: tasks('other'), ...settings } }]) };
    };
    const before = applied(twoJobs('1'), NOTHING, planDeployment(twoJobs('1'), NOTHING));
    const found = { ...before, activeRuns: [run, { key: 'other', jobId: 2, runId: 8 }] };
    expect(planDeployment(twoJobs('2'), found)).toMatchObject([{ thing: 'notebook' }, { action: 'restart', name: '8' }]);
    expect(planDeployment(twoJobs('1', { max_concurrent_runs: 2 }), found)).toMatchObject([{ thing: 'job' }, { action: 'restart', name: '8' }]);
  });

  it('leaves a run alone where the state is lost and the job\'s tag says that its code is the same', () => {
    const wanted = wantedOf();
    const found = deployed({}, { activeRuns: [run] });
    const lost = (tag: string | undefined): Observed => {
      const job = found.workspace.jobs.traffic as { job_id: number; settings: object };
      return { ...found, workspace: { ...found.workspace, state: EMPTY_STATE, jobs: { traffic: { ...job, settings: { ...job.settings, tags: tag === undefined ? {} : { [CODE_TAG]: tag } } } } } };
    };
    const restarted = (tag: string | undefined) => planDeployment(wanted, lost(tag)).filter(({ action }) => action === 'restart').length;
    expect([restarted(codeTag(wanted.workspace.jobs[0]?.settings)), restarted('another'), restarted(undefined)]).toEqual([0, 1, 1]);
  });

  it.each<[string, string | undefined]>([['was taken away', undefined], ['was changed', 'another']])('the mark of what a job executes that %s is put back, and nothing restarts', (_how, tag) => {
    const found = deployed({}, { activeRuns: [run] });
    const job = found.workspace.jobs.traffic as { job_id: number; settings: object };
    const tags: Record<string, string> = tag === undefined ? {} : { [CODE_TAG]: tag };
    const marked: Observed = { ...found, workspace: { ...found.workspace, jobs: { traffic: { ...job, settings: { ...job.settings, tags } } } } };
    const steps = planDeployment(wantedOf(), marked);
    expect(steps).toMatchObject([{ action: 'change', thing: 'job', risk: 'safe', changes: [{ field: `tags.${CODE_TAG}`, found: tag, wanted: codeTag(wantedOf().workspace.jobs[0]?.settings) }] }]);
    expect(planDeployment(wantedOf(), applied(wantedOf(), marked, steps))).toEqual([]);
    // With new code under it the mark changes as well: that is no step of its own.
    expect(brief(wantedOf({ notebooks: { ingest: '2' } }), deployed())).toEqual(['change notebook: safe']);
  });

  it('a mark that an earlier release made, of settings as well, is its own: it changes with the next code', () => {
    const found = deployed({}, { activeRuns: [run] });
    const job = found.workspace.jobs.traffic as { job_id: number; settings: object };
    const hash = found.workspace.state.code?.traffic?.hash ?? '';
    const earlier: Observed = { ...found, workspace: { ...found.workspace, state: { ...found.workspace.state, code: { traffic: { hash, staleRuns: [] } } }, jobs: { traffic: { ...job, settings: { ...job.settings, tags: { [CODE_TAG]: hash } } } } } };
    expect(planDeployment(wantedOf(), earlier)).toEqual([]);
    expect(brief(wantedOf({ notebooks: { ingest: '2' } }), { ...earlier, activeRuns: [] })).toEqual(['change notebook: safe']);
  });

  it('leaves a run alone whose job somebody starts and waits for, and gives that job no mark', () => {
    const waited = (code: string) => {
      const wanted = wantedOf({ notebooks: { ingest: code } });
      const [{ settings: { schedule: _, tags: __, ...settings } }] = wanted.workspace.jobs as any;
      return { ...wanted, workspace: { ...wanted.workspace, jobs: [{ key: 'traffic', settings }] } };
    };
    const found = applied(waited('1'), NOTHING, planDeployment(waited('1'), NOTHING));
    expect(brief(waited('2'), { ...found, activeRuns: [run] })).toEqual(['change notebook: safe']);
    expect(found.workspace.jobs.traffic?.settings.tags).toBeUndefined();
    // An earlier release gave every job one.
    const job = found.workspace.jobs.traffic as { job_id: number; settings: object };
    const marked: Observed = { ...found, workspace: { ...found.workspace, jobs: { traffic: { ...job, settings: { ...job.settings, tags: { [CODE_TAG]: 'old' } } } } } };
    const steps = planDeployment(waited('1'), marked);
    expect(steps.map(({ changes }) => changes)).toEqual([[{ field: `tags.${CODE_TAG}`, found: 'old', wanted: undefined }]]);
    expect(planDeployment(waited('1'), applied(waited('1'), marked, steps))).toEqual([]);
  });

  it('refuses to take partitions away, and says why', () => {
    expect(() => planDeployment(wantedOf({ partitions: 1 }), deployed())).toThrow(expect.objectContaining({ code: 'PARTITIONS_CANNOT_SHRINK', exitCode: 2, message: expect.stringContaining('cannot take partitions away') }));
  });

  it('names what differs and stays, and who wins', () => {
    const found = deployed();
    const topics = found.topics.map((topic) => ({ ...topic, replicationFactor: 3 }));
    expect(planDeployment(wantedOf(), { ...found, topics })).toEqual([]);
    const cluster = found.cluster && { ...found.cluster, kafkaVersion: '3.6.0', brokers: 6 };
    expect(driftOf(wantedOf(), { ...found, cluster }).map(({ field }) => field)).toEqual(['brokers', 'Kafka version']);
    const others = found.cluster && { ...found.cluster, ours: false };
    const configuration = { attached: { 'auto.create.topics.enable': 'true', 'num.partitions': '9' }, own: undefined };
    expect(planDeployment(wantedOf(), { ...found, cluster: others, configuration })).toEqual([]);
    expect(driftOf(wantedOf(), { ...found, cluster: others, configuration })).toMatchObject([{ field: 'auto.create.topics.enable', found: 'true', wanted: 'false', wins: expect.stringContaining('somebody else') }]);
    expect(driftOf(wantedOf(), { ...found, topics })).toMatchObject([{ thing: 'topic', field: 'replication factor', found: 3, wanted: 1, wins: expect.stringMatching(/^the topic/) }]);
  });

  it('says that the job refuses windows of another length than those that are published, and what helps', () => {
    const [step] = planDeployment(wantedOf({ window_minutes: 5 }), deployed({}, { tables: ['raw'], shapes: windowsOf(10) }));
    expect(step).toMatchObject({ action: 'change', thing: 'job', why: expect.stringContaining('`streamgauge windows rebuild --window 5m`') });
    expect(driftOf(wantedOf({ window_minutes: 5 }), deployed({}, { shapes: windowsOf(10) }))).toMatchObject([{ thing: 'table', name: 'windows', found: 10, wanted: 5, wins: expect.stringContaining('rebuild --window 5m') }]);
    expect(driftOf(wantedOf(), deployed({}, { shapes: windowsOf(10) }))).toEqual([]);
  });

  it('says each change in a line, and no secret in any', () => {
    expect(planDeployment(wantedOf({ retention_hours: 1 }), deployed()).map(sentence)).toEqual(['change topic t: retention.ms 86400000 -> 3600000, the broker drops records older than that, read or not [loses data]']);
    expect(JSON.stringify(planDeployment(wantedOf(), NOTHING))).not.toMatch(/"p"|b:9096/);
    expect(worst(['safe', 'loses data', 're-reads data'])).toBe('loses data');
  });
});

// Each plan checks a fingerprint that is slow to guess, and so slow to check.
describe('whatever the configuration', () => {
  it('after applying a plan there is nothing to do', () => {
    fc.assert(fc.property(configurations, (given) => void expect(planDeployment(wantedOf(given), deployed(given))).toEqual([])), { numRuns: 10 });
  }, 60_000);

  it('A, then B, then A again: the plan of A is empty', () => {
    fc.assert(
      fc.property(configurations, configurations, (a, b) => {
        const world = [a, b, a].reduce((found, given) => applied(wantedOf(given), found, planDeployment(wantedOf(given), found)), NOTHING);
        expect(planDeployment(wantedOf(a), world)).toEqual([]);
      }),
      { numRuns: 10 },
    );
  }, 60_000);
});
