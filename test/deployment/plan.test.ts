import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Observed } from '../../src/deployment/plan.ts';
import { driftOf, planDeployment } from '../../src/deployment/plan.ts';
import { sentence, worst } from '../../src/deployment/step.ts';
import { NOTHING, applied, configurations, wantedOf } from './model.ts';

const deployed = (given: Parameters<typeof wantedOf>[0] = {}, more: Partial<Observed> = {}): Observed => {
  const wanted = wantedOf(given);
  return { ...applied(wanted, NOTHING, planDeployment(wanted, NOTHING)), ...more };
};
const brief = (wanted: ReturnType<typeof wantedOf>, found: Observed): string[] => planDeployment(wanted, found).map(({ action, thing, risk }) => `${action} ${thing}: ${risk}`);
const run = { key: 'traffic', jobId: 1, runId: 7 };

describe('one plan from broker to index', () => {
  it('makes everything, each thing after what it needs', () => {
    const things = planDeployment(wantedOf(), NOTHING).map(({ thing }) => thing);
    expect([...new Set(things)]).toEqual(['cluster', 'key', 'secret', 'association', 'topic', 'rights', 'secret scope', 'secrets', 'folder', 'notebook', 'job', 'index template']);
  });

  it.each<[string, Parameters<typeof wantedOf>[0], Partial<Observed>, string[]]>([
    ['nothing', {}, {}, []],
    ['more partitions', { partitions: 4 }, {}, ['change topic: irreversible']],
    ['a shorter retention', { retention_hours: 1 }, {}, ['change topic: loses data']],
    ['a longer retention', { retention_hours: 48 }, {}, ['change topic: safe']],
    ['another topic', { topics: ['t', 'u'] }, {}, ['create topic: safe', 'create rights: safe']],
    ['another notebook while nothing runs', { notebooks: { ingest: '2' } }, {}, ['change notebook: safe']],
    ['another notebook under a run', { notebooks: { ingest: '2' } }, { activeRuns: [run] }, ['change notebook: safe', 'restart run: restarts stream']],
    ['a run with the deployed code', {}, { activeRuns: [run] }, []],
    ['another window with data there', { window_minutes: 5 }, { tables: ['raw'] }, ['change job: re-reads data']],
    ['another window before there is data', { window_minutes: 5 }, { tables: [] }, ['change job: safe']],
    ['another window where nobody could look', { window_minutes: 5 }, { tables: undefined }, ['change job: re-reads data']],
    ['the length of the windows that are published', { window_minutes: 5 }, { tables: ['raw'], windowMinutes: 5 }, ['change job: safe']],
    ['another tag', { tags: { team: 'x' } }, { tables: ['raw'] }, ['change job: safe']],
    ['another index', { index: 'j' }, { template: undefined }, ['create index template: safe']],
    ['a template changed by hand', {}, { template: { ...deployed().template, priority: 1 } }, ['change index template: safe']],
  ])('%s', (_name, given, found, expected) => expect(brief(wantedOf(given), deployed({}, found))).toEqual(expected));

  it('a run that went on while its code changed is restarted by the next deployment, too', () => {
    const found = deployed({}, { activeRuns: [run, { ...run, runId: 8 }] });
    const state = { ...found.workspace.state, code: { hash: 'h', staleRuns: [7] } };
    expect(planDeployment(wantedOf(), { ...found, workspace: { ...found.workspace, state } })).toMatchObject([{ action: 'restart', name: '7' }]);
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
    expect(driftOf(wantedOf(), { ...found, topics })).toMatchObject([{ thing: 'topic', field: 'replication factor', found: 3, wanted: 1, wins: expect.stringMatching(/^the topic/) }]);
  });

  it('says that the job refuses windows of another length than those that are published, and what helps', () => {
    const [step] = planDeployment(wantedOf({ window_minutes: 5 }), deployed({}, { tables: ['raw'], windowMinutes: 10 }));
    expect(step).toMatchObject({ action: 'change', thing: 'job', why: expect.stringContaining('`streamgauge windows rebuild --window 5m`') });
    expect(driftOf(wantedOf({ window_minutes: 5 }), deployed({}, { windowMinutes: 10 }))).toMatchObject([{ thing: 'table', name: 'windows', found: 10, wanted: 5, wins: expect.stringContaining('rebuild --window 5m') }]);
    expect(driftOf(wantedOf(), deployed({}, { windowMinutes: 10 }))).toEqual([]);
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
