import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { Failure } from '../../src/errors.ts';
import { bundleFolder, repository } from './bundle.ts';

const load = (cwd: string, rest: Partial<Parameters<typeof loadConfig>[0]> = {}) =>
  loadConfig({ cwd, vars: [], needsEnvironment: false, environment: {}, ...rest });

function failureOf(act: () => unknown): Failure {
  try {
    act();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the product’s own databricks.yml', () => {
  const mainJob = (target: string) => load(repository, { target }).jobs.find((job) => job.key === 'traffic_counter')?.settings;

  it.each(['local', 'dev', 'prod'])('is valid for target %s', (target) => {
    const config = load(repository, { target });
    expect(config.target).toBe(target);
    expect(config.pipeline.topics).toEqual(['traffic_counter']);
    expect(config.jobs.map((job) => job.key)).toEqual(['backup', 'backup_drill', 'traffic_counter', 'windows_rebuild']);
  });
  it('takes the target marked as default', () => {
    expect(load(repository).target).toBe('dev');
  });
  it('is found from a folder below it', () => {
    expect(load(`${repository}/src/config`).root).toBe(repository);
  });
  it.each(['no/scheme', 's3a://bucket/{a,b}', '/Volumes/main', '/tmp/backup'])('refuses %s as a place for files', (uri) => {
    expect(failureOf(() => load(repository, { vars: [`backup_uri=${uri}`] })).message).toContain('backup_uri: must be /Volumes/');
  });
  it.each(['', 's3a://bucket/a/b', 'gs://bucket/a', 'abfss://c@account.dfs.core.windows.net/a', 'hdfs://name:8020/a', 'file:///tmp/a', 'file:/tmp/a', '/Volumes/main/s/v/a'])('takes %j as a place for files', (uri) => {
    expect(load(repository, { vars: [`windows_uri=${uri}`] }).pipeline.windows_uri).toBe(uri);
  });
  it('pauses the schedule everywhere but in prod', () => {
    const status = (target: string) => (mainJob(target) as any).schedule.pause_status;
    expect([status('local'), status('dev'), status('prod')]).toEqual(['PAUSED', 'PAUSED', 'UNPAUSED']);
  });
  it.each([
    ['local', ['ingest', 'windows', 'export', 'backup'], ['notebooks', 'notebooks/streamgauge.mjs'], []],
    ['dev', ['ingest', 'windows', 'export', 'backup'], ['notebooks', 'notebooks/streamgauge.mjs'], []],
    ['prod', ['ingest', 'windows', 'export', 'backup'], ['notebooks', 'notebooks/streamgauge.mjs'], ['topics', 'tables']],
  ])('%s: tasks, what goes along with them, and what is protected', (target, tasks, paths, kept) => {
    const config = load(repository, { target });
    const job = config.jobs.find(({ key }) => key === 'traffic_counter') as { settings: any };
    expect(job.settings.tasks.map((task: { task_key: string }) => task.task_key)).toEqual(tasks);
    expect(config.syncPaths).toEqual(paths);
    expect(config.pipeline.prevent_destroy).toEqual(kept);
  });
  it('keeps numbers as numbers and job parameters as text, as the Databricks CLI does', () => {
    const settings = mainJob('prod') as Record<string, any>;
    expect(settings.job_clusters[0].new_cluster.autoscale.max_workers).toBe(4);
    expect(settings.parameters.find((p: { name: string }) => p.name === 'window_minutes').default).toBe('10');
  });
});

describe('who deploys', () => {
  it('has to be known by display name only where the bundle names something after it', () => {
    const known = (target: string, edit?: (text: string) => string) => load(bundleFolder(edit), { target }).databricks.knownById;
    expect([known('local'), known('prod'), known('dev')]).toEqual([true, true, false]);
    expect(known('prod', (text) => text.replace('root_path: /Workspace/Shared', 'root_path: /Workspace/${workspace.current_user.short_name}'))).toBe(false);
  });
});

describe('precedence of a variable', () => {
  const environment = { BUNDLE_VAR_partitions: '7' };
  it('default, then target, then BUNDLE_VAR_, then --var', () => {
    expect(load(repository, { target: 'prod' }).pipeline.partitions).toBe(6);
    expect(load(repository, { target: 'local' }).pipeline.partitions).toBe(4);
    expect(load(repository, { target: 'local', environment }).pipeline.partitions).toBe(7);
    expect(load(repository, { target: 'local', environment, vars: ['partitions=8', 'partitions=9'] }).pipeline.partitions).toBe(9);
  });
  it('between the target and BUNDLE_VAR_ stands the Databricks CLI’s file, of that target; what it names beyond the bundle’s variables is left alone', () => {
    const folder = bundleFolder(undefined, { '.databricks/bundle/local/variable-overrides.json': '{"partitions": 5, "index": "mine", "somebody_elses": []}' });
    expect(load(folder, { target: 'local' }).pipeline).toMatchObject({ partitions: 5, index: 'mine' });
    expect(load(folder, { target: 'local', environment }).pipeline).toMatchObject({ partitions: 7, index: 'mine' });
    expect(load(folder, { target: 'prod' }).pipeline.partitions).toBe(6);
  });
  it.each([
    ['[1]', 'variable-overrides.json: must be one JSON object'],
    ['{', 'variable-overrides.json: cannot be read: '],
    ['{"partitions": [5]}', 'variable-overrides.json: variable partitions must be text, a number or a boolean'],
    ['{"partitions": "many"}', 'variable-overrides.json: partitions: partitions: '],
  ])('that file as %s is a problem, with its name', (text, message) => {
    const folder = bundleFolder(undefined, { '.databricks/bundle/local/variable-overrides.json': text });
    expect(failureOf(() => load(folder, { target: 'local' })).message).toContain(message);
  });
});

describe('what is wrong is named, all at once', () => {
  it.each([
    [['partitions=abc'], /--var partitions: partitions: .*"abc"/],
    [['topicz=a'], /--var topicz: unknown variable topicz; did you mean topics\?/],
    [['catalog=main; DROP TABLE raw'], /plain SQL identifier/],
    [['schema=a`b'], /plain SQL identifier/],
    [['topics=a b'], /Kafka topic name/],
    [['min_insync_replicas=3', 'replication_factor=2'], /must not exceed replication_factor/],
    [['window_minutes=7'], /must divide a day/],
    [['nonsense'], /must be name=value/],
    [['index=Upper'], /Elasticsearch index name/],
    [["value_field=a'b"], /JSON field name/],
  ])('%j', (vars, message) => {
    const failure = failureOf(() => load(repository, { target: 'prod', vars }));
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID', kind: 'usage' });
    expect(failure.message).toMatch(message);
  });
  it('several problems come together', () => {
    const failure = failureOf(() => load(repository, { target: 'prod', vars: ['partitions=0', 'late_policy=drop', 'kafka_auth=none'] }));
    expect(failure.message).toMatch(/3 problems/);
  });
  it('a value in the file is named with its line', () => {
    const folder = bundleFolder((yml) => yml.replace('default: traffic_counter', 'default: "not a topic"'));
    const line = 1 + bundleLines(folder).findIndex((text) => text.includes('not a topic'));
    expect(failureOf(() => load(folder)).message).toContain(`databricks.yml:${line}: topics:`);
  });
  it('malformed YAML is named with its line', () => {
    const folder = bundleFolder((yml) => yml.replace('bundle:\n', 'bundle: [\n'));
    expect(failureOf(() => load(folder)).message).toMatch(/databricks\.yml:\d+: /);
  });
  it('malformed YAML in an included file is named with its line', () => {
    const folder = bundleFolder(undefined, { 'jobs/broken.job.yml': 'resources:\n  jobs: {a: [}\n' });
    expect(failureOf(() => load(folder)).message).toMatch(/jobs\/broken\.job\.yml:2: /);
  });
  it('a reference to a variable that does not exist', () => {
    const folder = bundleFolder(undefined, { 'jobs/other.job.yml': 'resources:\n  jobs:\n    other:\n      name: x ${var.typo}\n' });
    expect(failureOf(() => load(folder)).message).toMatch(/jobs\/other\.job\.yml:3: .*\$\{var\.typo\}/);
  });
  it('an unknown target lists those that exist', () => {
    expect(failureOf(() => load(repository, { target: 'staging' }))).toMatchObject({ code: 'TARGET_UNKNOWN', hint: expect.stringContaining('local, dev, prod') });
  });
  it('no databricks.yml anywhere', () => {
    expect(failureOf(() => load('/'))).toMatchObject({ code: 'CONFIG_NOT_FOUND', kind: 'usage' });
  });
});

describe('the environment of a target', () => {
  it('a target that requires its file does not fall through to another system', () => {
    expect(failureOf(() => load(bundleFolder(), { target: 'local', needsEnvironment: true }))).toMatchObject({
      code: 'ENVIRONMENT_MISSING',
      hint: expect.stringContaining('streamgauge local'),
    });
  });
  it('the file wins over the shell, and only for its own target', () => {
    const folder = bundleFolder(undefined, { '.streamgauge/local.env': 'DATABRICKS_HOST=https://localhost:8443\nELASTICSEARCH_URL=https://localhost:9200\n' });
    const shell = { DATABRICKS_HOST: 'https://prod.example' };
    expect(load(folder, { target: 'local', needsEnvironment: true, environment: { ...shell } }).databricks.host).toBe('https://localhost:8443');
    expect(load(folder, { target: 'prod', environment: { ...shell } }).databricks.host).toBe('https://prod.example');
  });
  it('secrets do not show', () => {
    const config = load(repository, { target: 'prod', environment: { ELASTICSEARCH_URL: 'https://es', ELASTICSEARCH_USERNAME: 'u', ELASTICSEARCH_PASSWORD: 'hunter2' } });
    expect(JSON.stringify(config)).not.toContain('hunter2');
  });
  it('cannot be changed afterwards', () => {
    const config = load(repository, { target: 'prod' });
    expect(() => Object.assign(config.pipeline, { partitions: 1 })).toThrow(TypeError);
  });
});

describe('a bundle of a few variables', () => {
  // As notebooks/export.py writes it.
  const folder = bundleFolder(() => JSON.stringify({ bundle: { name: 'b' }, variables: { catalog: { default: 'c' }, index: { default: 'i' } }, targets: { prod: {} } }));

  it('is enough for a verb that reads no other; whoever reads one is told', () => {
    const { pipeline } = load(folder, { reads: ['catalog', 'index'] });
    expect(pipeline).toEqual({ catalog: 'c', index: 'i' });
    expect(failureOf(() => pipeline.topics)).toMatchObject({ code: 'VARIABLE_MISSING', exitCode: 2, message: expect.stringContaining('topics') });
  });
  it('is not enough for any other, and what is declared must be right', () => {
    expect(failureOf(() => load(folder)).message).toContain('topics: is not declared under variables');
    expect(failureOf(() => load(folder, { reads: ['catalog', 'index', 'schema'] })).message).toContain('schema: is not declared');
    expect(failureOf(() => load(folder, { reads: ['index'], vars: ['index=-No'] })).message).toContain('index: must be an Elasticsearch index name');
  });
});

describe('the identity that is kept', () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ['in the cache of the user', { HOME: '/h' }, '/h/.cache/streamgauge/identities.json'],
    ['where caches are', { HOME: '/h', XDG_CACHE_HOME: '/x' }, '/x/streamgauge/identities.json'],
    ['where ours is', { HOME: '/h', STREAMGAUGE_CACHE: '/s' }, '/s/identities.json'],
    ['nowhere without a home', {}, undefined],
    ['nowhere where nothing shall be kept', { HOME: '/h', DATABRICKS_CACHE_ENABLED: 'false' }, undefined],
  ])('%s', (_where, environment, file) => expect(load(repository, { environment }).databricks.identityFile).toBe(file));
});

function bundleLines(folder: string): string[] {
  return readFileSync(`${folder}/databricks.yml`, 'utf8').split('\n');
}
