import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Pipeline } from '../../src/config/config.ts';
import { checkRemovalPlan, readPlan, removalPlanFile, writePlan } from '../../src/deployment/file.ts';
import { checkProtected, keptOf, planRemoval, type Made } from '../../src/deployment/removal.ts';
import { sentence } from '../../src/deployment/step.ts';

const cluster = { arn: 'a', name: 'c', state: 'ACTIVE', ours: true, tags: {}, logins: { scram: true, iam: true }, brokers: 3 };
const secret = (role: string, more = {}) => ({ name: `s-${role}`, arn: `arn-${role}`, ours: true, scheduledForDeletion: false, associated: true, ...more });
const logins = { key: { id: 'k', arn: 'k', ours: true }, secrets: { admin: secret('admin'), pipeline: secret('pipeline') } };
const topic = { name: 't', partitions: 4, replicationFactor: 1, configs: { 'retention.ms': '1' } };
const job = { what: 'job', id: 5, name: 'j' } as const;
const ALL: Made = { cluster, configuration: 'arn', logins, topics: [], goneTopics: [], rights: [], deployed: [job, { what: 'folder', path: '/W' }, { what: 'secret scope', name: 'k' }], indexed: { template: 'i', indices: ['i', 'i-cursor'] }, tables: ['raw'], checkpoints: ['raw'], activeRuns: [] };
const NONE: Made = { cluster: undefined, configuration: undefined, logins: { key: undefined, secrets: { admin: undefined, pipeline: undefined } }, topics: [], goneTopics: [], rights: [], deployed: [], indexed: { template: undefined, indices: [] }, tables: [], checkpoints: [], activeRuns: [] };
const ADOPTED: Made = { ...ALL, cluster: { ...cluster, ours: false }, topics: [topic], goneTopics: ['was'], rights: [{ user: 'c-admin', resource: 'topic', name: '*', pattern: 'literal', operation: 'all' }] };
const plain = { data: true, force: false };
const pipeline = { cluster_name: 'c', checkpoint_root: '/Volumes/a/b/c', topics: ['t'], prevent_destroy: [] as string[] } as unknown as Pipeline;
const config = { bundle: 'b', target: 'dev', pipeline, jobs: [] };

describe('a plan to destroy', () => {
  it('takes each thing before what it needs, with what that costs', () => {
    expect(planRemoval(pipeline, ALL, plain).map(({ action, thing, risk }) => `${action} ${thing}: ${risk}`)).toEqual([
      'delete job: irreversible', 'delete table: loses data', 'delete checkpoints: loses data', 'delete folder: irreversible', 'delete secret scope: safe', 'delete index: loses data', 'delete index: loses data', 'delete index template: safe',
      'delete secret: safe', 'delete secret: safe', 'delete key: irreversible', 'delete cluster with all its topics: loses data', 'delete configuration: safe',
    ]);
    expect(planRemoval(pipeline, NONE, plain)).toEqual([]);
  });

  it('of a cluster that was there takes topics and rights, and leaves the rest', () => {
    const steps = planRemoval(pipeline, ADOPTED, plain);
    expect(steps.map(({ thing }) => thing)).toEqual(expect.arrayContaining(['topic', 'mark of the topic', 'rights']));
    expect(steps.map(({ thing }) => thing)).not.toContain('cluster with all its topics');
    expect(keptOf(pipeline, ADOPTED)).toEqual([{ thing: 'cluster', name: 'c' }]);
    expect(steps.map(sentence)).toContainEqual(expect.stringMatching(/^delete checkpoints \/Volumes\/a\/b\/c: folders \["raw"\], .*\[loses data\]$/));
    expect(steps.map(sentence)).toContain('delete topic t: partitions 4, replication factor 1, retention.ms 1 [loses data]');
  });

  it.each([
    ['that others made', { ours: false }, false, []],
    ['that go already', { scheduledForDeletion: true }, false, []],
    ['that go already, at once', { scheduledForDeletion: true }, true, ['irreversible', 'irreversible']],
    ['at once', {}, true, ['irreversible', 'irreversible']],
  ])('secrets %s', (_what, more, force, risks) => {
    const made = { ...NONE, logins: { key: undefined, secrets: { admin: secret('admin', more), pipeline: secret('pipeline', more) } } };
    expect(planRemoval(pipeline, made, { data: false, force }).map(({ risk }) => risk)).toEqual(risks);
  });

  it('says which runs it would cancel', () => {
    expect(planRemoval(pipeline, { ...NONE, deployed: [job], activeRuns: [{ jobId: 5, runId: 9 }, { jobId: 6, runId: 10 }] }, plain).map(sentence)[0]).toMatch(/runs that go on \[9\].*are cancelled/);
  });

  it.each<[string, Made, object, RegExp]>([
    ['topics in a cluster that goes', ALL, { pipeline: { ...pipeline, prevent_destroy: ['topics'] } }, /topics t/],
    ['topics of a cluster that stays', ADOPTED, { pipeline: { ...pipeline, prevent_destroy: ['topics'] } }, /topics t/],
    ['tables', ALL, { pipeline: { ...pipeline, prevent_destroy: ['tables'] } }, /table raw/],
    ['a job', ALL, { jobs: [{ key: 'j', file: 'f.yml', settings: { lifecycle: { prevent_destroy: true } } }] }, /job j \(lifecycle.prevent_destroy in f.yml\)/],
  ])('is blocked as a whole by protected %s', (_what, made, more, message) => {
    expect(() => checkProtected({ ...config, ...more }, made)).toThrow(expect.objectContaining({ code: 'PREVENT_DESTROY', exitCode: 2, message: expect.stringMatching(message) }));
    expect(() => checkProtected({ ...config, ...more }, NONE)).not.toThrow();
  });

  it('that was saved is refused where the world has moved, and by deploy', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'plan-')), 'p');
    const steps = planRemoval(pipeline, ALL, plain);
    await writePlan(file, removalPlanFile(config, ALL, steps, plain));
    const saved = await readPlan(file, config, 'destroy');
    expect(saved.destroys).toEqual(plain);
    // A run comes and goes by the schedule: that is no other world.
    const busy = { ...ALL, activeRuns: [{ jobId: 5, runId: 9 }] };
    expect(() => checkRemovalPlan(saved, config, busy, planRemoval(pipeline, busy, plain), file)).not.toThrow();
    const moved = { ...ALL, tables: ['raw', 'windows'] };
    expect(() => checkRemovalPlan(saved, config, moved, planRemoval(pipeline, moved, plain), file)).toThrow(expect.objectContaining({ code: 'PLAN_OUTDATED', message: expect.stringContaining('the world has moved') }));
    expect(() => checkRemovalPlan(saved, { ...config, pipeline: { ...pipeline, topics: ['u'] } }, ALL, steps, file)).toThrow(/bundle has changed/);
    await expect(readPlan(file, config, 'deploy')).rejects.toMatchObject({ code: 'PLAN_UNREADABLE', message: expect.stringContaining('streamgauge destroy --plan') });
  });
});
