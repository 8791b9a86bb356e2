import { appendFileSync, cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { apply } from '../../src/databricks/apply.ts';
import { placeOf, wantedJobs } from '../../src/databricks/bundle.ts';
import type { Call, Workspace } from '../../src/databricks/client.ts';
import { CODE_TAG, codeTag } from '../../src/databricks/code.ts';
import { outdatedJobs, plan, wantedDeployment, type WorkspaceStep } from '../../src/databricks/deploy.ts';
import { observe } from '../../src/databricks/observe.ts';
import { refused } from '../../src/databricks/failures.ts';
import { underDeployLock } from '../../src/databricks/lock.ts';
import { createJob, me, resetJob, updateJob, type Job, type Me } from '../../src/databricks/rest.ts';
import { readState } from '../../src/databricks/state.ts';
import { activeRunsOf } from '../../src/deployment/observe.ts';
import { Secret } from '../../src/errors.ts';
import { writeCode } from '../../scripts/code.ts';
import { copyBundle, repository } from '../config/bundle.ts';
import { openWorkspace } from '../local/facades/workspace/fixture.ts';

// What a deployment costs, request by request, with the repository's own bundle: its four jobs, its notebooks and their modules in two folders, the controller.
const folder = mkdtempSync(join(tmpdir(), 'streamgauge-requests-'));
const secrets = { bootstrap_servers: new Secret('b:9096'), username: new Secret('u'), password: new Secret('p') };
let served: Awaited<ReturnType<typeof openWorkspace>>;
let asked: string[] = [];
let workspace: Workspace;
let known: Me | undefined;
/** It was heard more than half an hour ago. */
let doubtful = false;
/** A service principal, as whom CI deploys, on a runner that remembers nothing. */
const PRINCIPAL = '813073e7-3b08-4c0d-8619-0123456789ab';

beforeAll(async () => {
  copyBundle(folder);
  writeFileSync(join(folder, 'notebooks/streamgauge.mjs'), 'export {};\n');
  served = await openWorkspace();
  const request = async <T>({ method, path, query = {}, body, bytes, raw }: Call): Promise<T> => {
    asked.push(`${method} ${path.replace(/\/import-file\/.*/, '/import-file')}`);
    const asText = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as [string, string]]));
    const response = await served.fetch(method, `${path}?${new URLSearchParams(asText).toString()}`, { body: bytes ? new Uint8Array(bytes) : body === undefined ? undefined : JSON.stringify(body) });
    const answer = Buffer.from(await response.arrayBuffer());
    if (!response.ok) throw refused({ host: 'h', call: `${method} ${path}`, status: response.status, errorCode: JSON.parse(answer.toString()).error_code }, false);
    return (raw ? answer : JSON.parse(answer.toString() || '{}')) as T;
  };
  // As it is remembered in the user's cache from one invocation to the next.
  const remember = async (who: Me): Promise<void> => {
    known = who;
    doubtful = false;
  };
  const identities: Workspace['identities'] = { known: async () => known, doubtful: () => doubtful, remember, forget: async () => void (known = undefined) };
  workspace = { host: 'h', authorization: async () => ({}), identities, request, withSignal: () => workspace };
  await deployed();
});
afterAll(() => served.stop());

type Done = { steps: WorkspaceStep[]; apart: boolean; outdated: string[] };

/** The workspace's part of `deploy`; `stops` where only the plan is wanted. Returns what it did, and what that asked of the workspace. */
async function deployed({ stops = false, by = workspace, target = 'local' } = {}): Promise<Done & { asked: string[] }> {
  asked = [];
  const config = loadConfig({ cwd: folder, target, vars: [], needsEnvironment: false, environment: {} });
  const who = await me(by);
  const all = async (): Promise<Done> => {
    const bare = await wantedDeployment(by, config, {}, who);
    const wanted = { ...bare, scope: { ...bare.scope, secrets } };
    const found = await observe(by, wanted);
    const activeRuns = await activeRunsOf(by, wanted, found);
    const steps = plan(wanted, found);
    if (!stops) await apply(by, wanted, found, steps, () => undefined, { at: '2026-01-05T00:00:00Z', what: [], activeRuns });
    return { steps, apart: found.jobsApart, outdated: outdatedJobs(wanted, found) };
  };
  const done = stops ? await all() : await underDeployLock(by, placeOf(config, who), who, { force: false, warn: () => undefined }, all);
  return { ...done, asked };
}

const change = (file: string): void => appendFileSync(join(folder, file), '# changed\n');
const reads = ['GET /api/2.0/workspace/export', 'GET /api/2.0/secrets/list', ...Array<string>(2).fill('GET /api/2.0/workspace/list')];
const lock = ['POST /api/2.0/workspace-files/import-file', 'POST /api/2.0/workspace/delete'];
const page = 'GET /api/2.2/jobs/list';

describe('requests to the workspace', () => {
  it('of a plan and of a deployment that has nothing to do: state, secrets, each folder, one page of jobs; and, the first time, who asks', async () => {
    expect((await deployed({ stops: true })).asked.toSorted()).toEqual([...reads, page].toSorted());
    const { steps, asked: all } = await deployed();
    expect([steps, all.toSorted()]).toEqual([[], [...reads, ...lock, page].toSorted()]);
    known = undefined;
    expect((await deployed()).asked.toSorted()).toEqual([...reads, ...lock, page, 'GET /api/2.0/preview/scim/v2/Me'].toSorted());
  });

  it('of one changed notebook: one look for runs, the upload, the tag of the job that runs on its own, its folder again, the state', async () => {
    const effects = ['POST /api/2.0/workspace/import', 'GET /api/2.0/workspace/list', 'POST /api/2.0/workspace-files/import-file'];
    const stream = ['GET /api/2.2/jobs/runs/list', 'POST /api/2.2/jobs/update'];
    change('notebooks/windows.py');
    expect((await deployed()).asked.toSorted()).toEqual([...reads, ...lock, page, ...effects, ...stream].toSorted());
    // What only a verb runs that waits for it has no stream.
    change('notebooks/rebuild.py');
    expect((await deployed()).asked.toSorted()).toEqual([...reads, ...lock, page, ...effects].toSorted());
  });

  it('of one changed notebook by whoever was here long ago: no more, because what stands there says that the name is right', async () => {
    doubtful = true;
    change('notebooks/windows.py');
    expect((await deployed()).asked).toHaveLength(12);
    doubtful = false;
  });

  it.each(globSync('notebooks/**/*.py', { cwd: repository }))('%s, changed, costs at most twelve', async (file) => {
    change(file);
    const { steps, asked: all } = await deployed();
    expect(steps).toMatchObject([{ do: 'upload', file, reason: 'changed' }]);
    expect(all.length).toBeLessThanOrEqual(12);
  });

  it('a file of an earlier deployment goes, wherever it lay: what that one remembers is looked at, too', async () => {
    for (const file of ['notebooks/old/gone.py', 'root.py']) {
      cpSync(join(folder, 'notebooks/pipeline/__init__.py'), join(folder, file), { recursive: true });
      change(file);
    }
    const bundle = join(folder, 'databricks.yml');
    const whole = readFileSync(bundle, 'utf8');
    writeFileSync(bundle, whole.replace('    - notebooks\n', '    - notebooks\n    - root.py\n'));
    expect((await deployed()).steps).toMatchObject([{ do: 'make folder' }, { do: 'upload', file: 'notebooks/old/gone.py' }, { do: 'upload', file: 'root.py' }]);
    expect((await deployed({ stops: true })).steps).toEqual([]);
    for (const file of ['notebooks/old', 'root.py']) rmSync(join(folder, file), { recursive: true });
    writeFileSync(bundle, whole);
    expect((await deployed()).steps).toMatchObject([{ do: 'delete', path: expect.stringMatching(/notebooks\/old\/gone\.py$/) }, { do: 'delete', path: expect.stringMatching(/files\/root\.py$/) }]);
    expect((await deployed()).asked.toSorted()).toEqual([...reads, ...lock, page].toSorted());
  });

  it('a job that is not as it should be is asked for by itself', async () => {
    const config = loadConfig({ cwd: folder, target: 'local', vars: [], needsEnvironment: false, environment: {} });
    const wanted = await wantedDeployment(workspace, config, secrets);
    const { jobs } = await observe(workspace, wanted);
    await updateJob(workspace, jobs.backup?.job_id ?? 0, { timeout_seconds: 60 });
    const { steps, asked: all } = await deployed({ stops: true });
    expect(steps).toMatchObject([{ do: 'update job', key: 'backup', changes: [{ field: 'timeout_seconds', found: 60 }] }]);
    expect(all.filter((call) => /jobs\/(list|get)/.test(call))).toEqual([page, 'GET /api/2.2/jobs/get']);
    await deployed();
  });

  it('the mark of a job is read from that page: where it should be and is not, and where an earlier release left one, it is put right, once', async () => {
    const config = loadConfig({ cwd: folder, target: 'local', vars: [], needsEnvironment: false, environment: {} });
    const wanted = await wantedDeployment(workspace, config, secrets);
    const { jobs } = await observe(workspace, wanted);
    const tagsOf = (key: string) => wanted.jobs.find((job) => job.key === key)?.settings.tags ?? {};
    const { [CODE_TAG]: mark, ...others } = tagsOf('traffic_counter');
    await updateJob(workspace, jobs.traffic_counter?.job_id ?? 0, { tags: others });
    await updateJob(workspace, jobs.backup?.job_id ?? 0, { tags: { ...tagsOf('backup'), [CODE_TAG]: 'old' } });
    const { steps, asked: all, outdated } = await deployed({ stops: true });
    expect([steps, outdated]).toMatchObject([[{ do: 'tag job', key: 'backup', found: 'old', wanted: undefined }, { do: 'tag job', key: 'traffic_counter', wanted: mark }], []]);
    expect(all.toSorted()).toEqual([...reads, page].toSorted());
    await deployed();
    expect((await deployed({ stops: true })).steps).toEqual([]);
    expect((await observe(workspace, wanted)).jobs.backup?.settings.tags).toEqual(tagsOf('backup'));
  });

  it('where newer jobs have pushed them off that page they are asked for one by one, and from the next deployment on at once', async () => {
    for (let job = 0; job < 25; job += 1) await createJob(workspace, { name: `other ${job}` });
    const gets = Array<string>(4).fill('GET /api/2.2/jobs/get');
    change('notebooks/export.py');
    const first = await deployed();
    expect([first.apart, first.asked.filter((call) => /jobs\/(list|get)/.test(call))]).toEqual([true, [page, ...gets]]);
    const second = await deployed();
    expect([second.steps, second.asked.filter((call) => /jobs\/(list|get)/.test(call))]).toEqual([[], gets]);
  });
});

describe('after the Databricks CLI has deployed the same bundle', () => {
  it('there is nothing left to do, where it was built, and without that only the mark; an edit by hand is still one', async () => {
    const config = loadConfig({ cwd: folder, target: 'local', vars: [], needsEnvironment: false, environment: {} });
    const wanted = await wantedDeployment(workspace, config, secrets);
    const jobs = async (): Promise<Job[]> => Object.values((await observe(workspace, wanted)).jobs);
    const ids = Object.fromEntries(Object.entries((await observe(workspace, wanted)).jobs).map(([key, { job_id: id }]) => [key, id]));
    // Every file anew, every job reset to what the bundle says.
    for (const { path, content } of wanted.files) expect((await served.importFile(`${wanted.place.files}/${path}`, new Uint8Array(content), true)).status).toBe(200);
    const byCli = async (): Promise<void> => {
      const said = wantedJobs(loadConfig({ cwd: folder, target: 'local', vars: [], needsEnvironment: false, environment: {} }), wanted.who, wanted.place);
      for (const { key, settings } of said) await resetJob(workspace, ids[key] ?? 0, settings);
    };
    const marks = async (): Promise<(string | undefined)[]> => (await jobs()).map(({ settings }) => codeTag(settings));
    const tag = { do: 'tag job', key: 'traffic_counter', wanted: codeTag(wanted.jobs.find(({ key }) => key === 'traffic_counter')?.settings) };
    await byCli();
    expect(await deployed({ stops: true })).toMatchObject({ steps: [{ ...tag, found: undefined }], outdated: [] });
    await writeCode(folder);
    await byCli();
    expect(await deployed({ stops: true })).toMatchObject({ steps: [], outdated: [] });
    expect(await marks()).toEqual(wanted.jobs.map(({ key }) => (key === 'traffic_counter' ? tag.wanted : undefined)));
    rmSync(join(folder, '.databricks'), { recursive: true });
    await byCli();
    expect((await deployed()).steps).toMatchObject([tag]);
    expect(await marks()).toEqual(wanted.jobs.map(({ key }) => (key === 'traffic_counter' ? tag.wanted : undefined)));
    expect((await readState(workspace, wanted.place)).history?.at(-1)?.what).toEqual([`take in ${wanted.files.length} files that stood there as they should`]);
    const second = await deployed();
    expect([second.steps, second.asked.filter((call) => call.includes('/export'))]).toEqual([[], ['GET /api/2.0/workspace/export']]);
    await served.importFile(`${wanted.place.files}/notebooks/export.py`, '# Databricks notebook source\nprint("by hand")\n', true);
    expect((await deployed({ stops: true })).steps).toMatchObject([{ do: 'upload', file: 'notebooks/export.py', reason: 'edited in the workspace' }]);
    await deployed();
  });

  it('a change that it deployed makes no steps, but runs that began with what was there before are outdated', async () => {
    change('notebooks/export.py');
    const path = '/files/notebooks/export.py';
    const content = readFileSync(join(folder, 'notebooks/export.py'));
    const { place } = await wantedDeployment(workspace, loadConfig({ cwd: folder, target: 'local', vars: [], needsEnvironment: false, environment: {} }), secrets);
    await served.importFile(`${place.root}${path}`, new Uint8Array(content), true);
    expect(await deployed()).toMatchObject({ steps: [], outdated: ['traffic_counter'] });
    expect(await deployed()).toMatchObject({ steps: [], outdated: [] });
  });
});

describe('on a runner that remembers nothing, as the service principal that CI is', () => {
  it.each(['notebooks/windows.py', 'notebooks/pipeline/tables.py', 'notebooks/rebuild.py'])('%s, changed, costs at most twelve, too: nobody has to ask who that is', async (file) => {
    const by: Workspace = { ...workspace, principal: async () => PRINCIPAL, identities: undefined };
    await deployed({ by, target: 'prod' });
    change(file);
    const { steps, asked: all } = await deployed({ by, target: 'prod' });
    expect(steps).toMatchObject([{ do: 'upload', file, reason: 'changed' }]);
    expect(all.length).toBeLessThanOrEqual(12);
    expect((await readState(by, placeOf(loadConfig({ cwd: folder, target: 'prod', vars: [], needsEnvironment: false, environment: {} }), { userName: PRINCIPAL }))).history?.at(-1)?.by).toBe(PRINCIPAL);
  });
});
