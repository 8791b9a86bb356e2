import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plan, warningsOf, type Found, type Wanted } from '../../src/databricks/deploy.ts';
import { differences } from '../../src/databricks/differences.ts';
import { bundleFiles, describe as describeFile } from '../../src/databricks/files.ts';
import { MADE_KEY, fingerprintKey, reasonToPut } from '../../src/databricks/scope.ts';
import { EMPTY_STATE } from '../../src/databricks/state.ts';
import { Secret } from '../../src/errors.ts';

const root = '/Workspace/Users/a/.bundle/s/dev';
const place = { root, files: `${root}/files`, state: `${root}/state` };
const notebook = describeFile('notebooks/ingest.py', Buffer.from('# Databricks notebook source\nprint(1)\n'));
const shared = describeFile('notebooks/pipeline/tables.py', Buffer.from('x = 1\n'));
const secrets = { bootstrap_servers: new Secret('b:9096'), username: new Secret('u'), password: new Secret('p') };
const fingerprint = fingerprintKey(secrets);
const settings = { name: 'traffic', tasks: [{ task_key: 'ingest', notebook_task: { notebook_path: `${place.files}/notebooks/ingest` } }] };

const wanted = (overrides: Partial<Wanted> = {}): Wanted => ({
  who: { userName: 'a' },
  place,
  files: [notebook, shared],
  jobs: [{ key: 'traffic', settings }],
  scope: { name: 'kafka', secrets },
  ...overrides,
});
const nothing: Found = { state: EMPTY_STATE, tree: [], alike: {}, jobs: {}, staleJobs: [], jobsApart: false, secrets: undefined };
const tree = [
  { path: `${place.files}/notebooks`, object_type: 'DIRECTORY' as const },
  { path: `${place.files}/notebooks/ingest`, object_type: 'NOTEBOOK' as const, object_id: 1, modified_at: 10 },
  { path: `${place.files}/notebooks/pipeline`, object_type: 'DIRECTORY' as const },
  { path: `${place.files}/notebooks/pipeline/tables.py`, object_type: 'FILE' as const, object_id: 2, modified_at: 20 },
];
const deployed = (overrides: Partial<Found> = {}): Found => ({
  state: {
    version: 1,
    files: {
      'notebooks/ingest': { sha256: notebook.sha256, object_id: 1, modified_at: 10 },
      'notebooks/pipeline/tables.py': { sha256: shared.sha256, object_id: 2, modified_at: 20 },
    },
    jobs: { traffic: 5 },
  },
  tree,
  alike: {},
  jobs: { traffic: { job_id: 5, settings } },
  staleJobs: [],
  jobsApart: false,
  secrets: [{ key: MADE_KEY, last_updated_timestamp: 1 }, ...Object.keys(secrets).map((key) => ({ key, last_updated_timestamp: 1 })), { key: fingerprint, last_updated_timestamp: 2 }],
  ...overrides,
});
const brief = (steps: ReturnType<typeof plan>): string[] => steps.map((step) => `${step.do} ${'path' in step ? step.path.slice(root.length + 1) : 'scope' in step ? step.scope : step.name}`);

describe('plan', () => {
  it('of a first deployment: scope and credentials, folders, files, then the job', () => {
    expect(brief(plan(wanted(), nothing))).toEqual([
      'create secret scope kafka',
      'put secrets kafka',
      'make folder files',
      'make folder files/notebooks',
      'make folder files/notebooks/pipeline',
      'make folder state',
      'upload files/notebooks/ingest',
      'upload files/notebooks/pipeline/tables.py',
      'create job traffic',
    ]);
  });

  it('is empty where everything is as it should be, however the workspace spells paths', () => {
    expect(plan(wanted(), deployed())).toEqual([]);
    expect(plan(wanted(), deployed({ tree: tree.map((object) => ({ ...object, path: object.path.replace('/Workspace', '') })) }))).toEqual([]);
  });

  it('holds no secret and no content', () => {
    expect(JSON.stringify(plan(wanted({ scope: { name: 'kafka', secrets: { ...secrets, password: new Secret('hunter2') } } }), nothing))).not.toMatch(/hunter2|print/);
  });

  it.each<[string, Partial<Wanted>, Partial<Found>, object[]]>([
    ['a changed notebook', { files: [describeFile('notebooks/ingest.py', Buffer.from('# Databricks notebook source\nprint(2)\n')), shared] }, {}, [{ do: 'upload', reason: 'changed' }]],
    ['a notebook edited in the workspace', {}, { tree: tree.map((object) => (object.object_id === 1 ? { ...object, modified_at: 11 } : object)) }, [{ do: 'upload', reason: 'edited in the workspace' }]],
    ['a notebook that was deleted there', {}, { tree: tree.filter((object) => object.object_id !== 1) }, [{ do: 'upload', reason: 'new' }]],
    ['a file where a notebook should be', {}, { tree: tree.map((object) => (object.object_id === 1 ? { ...object, object_type: 'FILE' as const } : object)) }, [{ do: 'delete' }, { do: 'upload', reason: 'other type' }]],
    ['a file that left the bundle', { files: [notebook] }, {}, [{ do: 'delete', reason: 'no longer in the bundle' }]],
    ['another job setting', { jobs: [{ key: 'traffic', settings: { ...settings, max_concurrent_runs: 2 } }] }, {}, [{ do: 'update job', job_id: 5, changes: [{ field: 'max_concurrent_runs', wanted: 2 }] }]],
    ['a job edited there', {}, { jobs: { traffic: { job_id: 5, settings: { ...settings, tags: { x: 'y' } } } } }, [{ do: 'update job', changes: [{ field: 'tags.x', found: 'y' }] }]],
    ['a renamed job', { jobs: [{ key: 'traffic', settings: { ...settings, name: 'counter' } }] }, {}, [{ do: 'update job', name: 'counter', job_id: 5 }]],
    ['a job that was deleted there', {}, { jobs: {} }, [{ do: 'create job' }]],
    ['a job that left the bundle', {}, { staleJobs: [{ key: 'old', job_id: 4, name: 'old' }] }, [{ do: 'delete job', job_id: 4 }]],
    ['another password', { scope: { name: 'kafka', secrets: { ...secrets, password: new Secret('q') } } }, {}, [{ do: 'put secrets', reason: 'changed', stale: [fingerprint] }]],
    ['a scope that was deleted', {}, { secrets: undefined }, [{ do: 'create secret scope' }, { do: 'put secrets' }]],
    ['a scope of somebody else', {}, { secrets: Object.keys(secrets).map((key) => ({ key })) }, [{ do: 'put secrets', reason: 'not written by this bundle' }]],
  ])('%s', (_name, want, find, expected) => {
    expect(plan(wanted(want), deployed(find))).toMatchObject(expected);
    expect(plan(wanted(want), deployed(find))).toHaveLength(expected.length);
  });
});

describe('secrets', () => {
  const found = (at: Partial<Record<string, number>>) => [...Object.keys(secrets), fingerprint].map((key) => ({ key, last_updated_timestamp: at[key] ?? 5 }));
  it('are told apart by a salted fingerprint', () => {
    expect(fingerprintKey(secrets)).not.toBe(fingerprintKey(secrets));
    expect(fingerprint).toMatch(/^[\w.-]{1,128}$/);
    expect(reasonToPut({ name: 's', secrets }, found({}))).toBeUndefined();
    expect(reasonToPut({ name: 's', secrets: { ...secrets, username: new Secret('v') } }, found({}))).toBe('changed');
  });
  it('are written again where one is missing, or was written by another since', () => {
    expect(reasonToPut({ name: 's', secrets }, found({}).filter((secret) => secret.key !== 'password'))).toBe('missing: password');
    expect(reasonToPut({ name: 's', secrets }, found({ password: 9 }))).toBe('written by someone else since: password');
  });
});

describe('differences', () => {
  it.each<[string, object, object, string[]]>([
    ['defaults of the server', { tasks: [{ task_key: 'a', notebook_task: {} }] }, { format: 'MULTI_TASK', run_as: { user_name: 'a' }, email_notifications: {}, timeout_seconds: 0, tasks: [{ task_key: 'a', run_if: 'ALL_SUCCESS', notebook_task: { source: 'WORKSPACE' } }] }, []],
    ['order of keyed lists', { parameters: [{ name: 'a', default: '1' }, { name: 'b', default: '2' }] }, { parameters: [{ name: 'b', default: '2' }, { name: 'a', default: '1' }] }, []],
    ['cluster defaults of the server', { job_clusters: [{ job_cluster_key: 'c', new_cluster: { spark_version: '1' } }] }, { job_clusters: [{ job_cluster_key: 'c', new_cluster: { spark_version: '1', aws_attributes: { zone_id: 'auto' }, enable_elastic_disk: true } }] }, []],
    ['a value that was asked for and is another', { job_clusters: [{ job_cluster_key: 'c', new_cluster: { node_type_id: 'm5' } }] }, { job_clusters: [{ job_cluster_key: 'c', new_cluster: { node_type_id: 'm6' } }] }, ['job_clusters[c].new_cluster.node_type_id']],
    ['a task more', { tasks: [{ task_key: 'a' }] }, { tasks: [{ task_key: 'a' }, { task_key: 'b' }] }, ['tasks[b].task_key']],
    ['a field nobody asked for', {}, { timeout_seconds: 60 }, ['timeout_seconds']],
  ])('%s', (_name, want, find, fields) => expect(differences(want, find).map((difference) => difference.field)).toEqual(fields));

  it('finds none between equal values, and some between different scalars', () => {
    const value = fc.oneof(fc.string({ minLength: 1 }), fc.integer({ min: 1 }), fc.constant(true));
    fc.assert(fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), value), (record) => void expect(differences(record, structuredClone(record))).toEqual([])));
    fc.assert(fc.property(value, value, (a, b) => void expect(differences({ x: a }, { x: b })).toHaveLength(a === b ? 0 : 1)));
  });
});

describe('files of the bundle', () => {
  const make = (files: Record<string, string>): string => {
    const folder = mkdtempSync(join(tmpdir(), 'bundle-'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return folder;
  };
  it('are all below sync.paths but caches, in one order, each with its hash', async () => {
    const folder = make({ 'n/b.py': 'x', 'n/a.py': '# Databricks notebook source\n', 'n/p/c.sql': '-- Databricks notebook source\n', 'n/p/__pycache__/c.pyc': '', 'n/d.ipynb': '{}', 'n/.DS_Store': '', 'other.py': '' });
    const files = await bundleFiles({ root: folder, syncPaths: ['n', 'n/p'] });
    expect(files.map(({ path, object, type }) => [path, object, type])).toEqual([
      ['n/a.py', 'n/a', 'NOTEBOOK'],
      ['n/b.py', 'n/b.py', 'FILE'],
      ['n/d.ipynb', 'n/d', 'NOTEBOOK'],
      ['n/p/c.sql', 'n/p/c', 'NOTEBOOK'],
    ]);
    expect(files[1]?.sha256).toBe('2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881');
  });
  it('that are missing, or would be one notebook, are named', async () => {
    await expect(bundleFiles({ root: make({ 'n/a.py': '' }), syncPaths: ['m'] })).rejects.toMatchObject({ code: 'SYNC_PATH_MISSING', exitCode: 2 });
    const twice = make({ 'n/a.py': '# Databricks notebook source', 'n/a.sql': '-- Databricks notebook source' });
    await expect(bundleFiles({ root: twice, syncPaths: ['n'] })).rejects.toMatchObject({ code: 'NOTEBOOK_NAME_TAKEN' });
  });
});

describe('warningsOf', () => {
  const withLength = (minutes: string | number): typeof settings => ({ ...settings, parameters: [{ name: 'topics', default: 't' }, { name: 'window_minutes', default: minutes }] }) as typeof settings;
  const change = (from: string, to: string | number): string[] =>
    warningsOf(wanted({ jobs: [{ key: 'traffic', settings: withLength(to) }] }), deployed({ jobs: { traffic: { job_id: 5, settings: withLength(from) } } }));

  it('says that another window length is refused by the job', () => {
    expect(change('10', 5)).toEqual([expect.stringContaining('window_minutes 10 -> 5')]);
  });

  it('has nothing to say of the same length, or of a first deployment', () => {
    expect(change('10', 10)).toEqual([]);
    expect(warningsOf(wanted(), nothing)).toEqual([]);
  });
});
