import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { poll } from '../../src/poll.ts';
import { built } from '../built.ts';
import { bundleFolder, repository } from '../config/bundle.ts';
import { freePortOffset } from './ports.ts';
import { allGone, commandLineOf, descendantsOf, listeningAddresses } from './processes.ts';

// A platform of its own, run as a user runs it, to be killed and started again; the tests build on each other.
const root = bundleFolder();
const environmentFile = join(root, '.streamgauge', 'local.env');
const logFile = (name: string) => join(root, '.streamgauge', 'local', 'log', name);
const running = new Set<ChildProcess>();
let environment: Record<string, string> = {};
let offset = 0;

beforeAll(async () => {
  built();
  cpSync(join(repository, 'notebooks'), join(root, 'notebooks'), { recursive: true });
  offset = await freePortOffset();
});

afterAll(async () => {
  for (const child of running) {
    const left = descendantsOf(child.pid as number);
    child.kill('SIGKILL');
    await allGone(left, 30_000);
  }
  rmSync(root, { recursive: true, force: true });
});

function cli(args: string[], folder = root): { child: ChildProcess; stderr: () => string; stdout: () => string; ended: Promise<number | null> } {
  const { PATH = '', HOME = '', STREAMGAUGE_CACHE } = process.env;
  const env = { PATH, HOME, CI: 'true', STREAMGAUGE_PORT_OFFSET: String(offset), ...(STREAMGAUGE_CACHE ? { STREAMGAUGE_CACHE } : {}) };
  const child = spawn(process.execPath, [join(repository, 'src/cli.ts'), ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let said = '';
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, stderr: () => said, stdout: () => printed, ended };
}

/** What a verb prints, whatever its exit code. */
async function output(args: string[]): Promise<string> {
  const done = cli(args);
  await done.ended;
  return done.stdout() || `"${done.stderr()}"`;
}

async function up(): Promise<ReturnType<typeof cli>> {
  const platform = cli(['local']);
  await poll({ what: 'the platform', deadlineMs: 240_000, intervalMs: 300 }, async () => {
    if (platform.child.exitCode !== null) throw new Error(platform.stderr());
    return platform.stderr().includes('Ctrl-C stops it') ? true : undefined;
  });
  environment = parseEnv(readFileSync(environmentFile, 'utf8')) as Record<string, string>;
  return platform;
}

async function ask<T = any>(base: string, path: string, authorization: string, body?: unknown, method = body === undefined ? 'GET' : 'POST'): Promise<{ status: number; body: T }> {
  return new Promise((resolve, reject) => {
    const options = { method, ca: readFileSync(environment.NODE_EXTRA_CA_CERTS ?? ''), agent: false as const, headers: { authorization, 'content-type': 'application/json' } };
    const asked = request(`${environment[base]}${path}`, options, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode ?? 0, body: JSON.parse(text || 'null') as T });
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const basic = () => `Basic ${Buffer.from(`${environment.ELASTICSEARCH_USERNAME}:${environment.ELASTICSEARCH_PASSWORD}`).toString('base64')}`;
const search = (path: string, body?: unknown, method?: string) => ask('ELASTICSEARCH_URL', path, basic(), body, method);
const databricks = (path: string, body?: unknown) => ask('DATABRICKS_HOST', path, `Bearer ${environment.DATABRICKS_TOKEN}`, body);
const sql = async (statement: string) => {
  const warehouse_id = environment.DATABRICKS_HTTP_PATH?.split('/').at(-1);
  const first = await databricks('/api/2.0/sql/statements', { warehouse_id, statement, wait_timeout: '30s' });
  const { body } = await poll({ what: statement, deadlineMs: 240_000, intervalMs: 500 }, async () => {
    const now = await databricks(`/api/2.0/sql/statements/${first.body.statement_id}`);
    return ['PENDING', 'RUNNING'].includes(now.body.status?.state) ? undefined : now;
  });
  return body.status.state === 'SUCCEEDED' ? body.result?.data_array : body.status;
};

describe('a platform of its own', () => {
  let platform: ReturnType<typeof cli>;
  let firstEnvironment: Record<string, string>;

  it('starts, and takes state in every engine', async () => {
    platform = await up();
    firstEnvironment = environment;
    expect(statSync(environmentFile).mode & 0o777).toBe(0o600);
    expect(platform.stderr()).not.toContain(environment.DATABRICKS_TOKEN);
    expect(await sql('create table kept (n bigint)')).not.toHaveProperty('error');
    expect(await sql('insert into kept values (41), (9007199254740993)')).not.toHaveProperty('error');
    expect((await search('/traffic_windows/_doc/1?refresh=true', { n: 1 }, 'PUT')).status).toBe(201);
    expect((await databricks('/api/2.0/secrets/scopes/create', { scope: 'kept' })).status).toBe(200);
    for (const verb of [['provision'], ['produce', '--records', '1000', '--seed', '1'], ['deploy']]) {
      const done = cli([...verb, '-t', 'local']);
      expect({ verb, code: await done.ended, stderr: done.stderr() }).toMatchObject({ code: 0 });
    }
  });

  it.runIf(process.platform === 'linux')('listens on loopback addresses alone', () => {
    const addresses = listeningAddresses([platform.child.pid as number, ...descendantsOf(platform.child.pid as number)]);
    expect(addresses.length).toBeGreaterThan(8);
    expect(addresses.filter((address) => !['127.0.0.1', '::ffff:127.0.0.1', '::1'].includes(address))).toEqual([]);
  });

  it('keeps its ports: a platform elsewhere says which are taken, and which variables move them', async () => {
    const elsewhere = bundleFolder();
    const second = cli(['local'], elsewhere);
    expect(await second.ended).toBe(2);
    expect(second.stderr()).toContain(`port ${8443 + offset} for the Databricks workspace (STREAMGAUGE_WORKSPACE_PORT) is not free`);
    expect(second.stderr()).toContain(`port ${9096 + offset} for Kafka (STREAMGAUGE_KAFKA_PORT) is not free`);
    rmSync(elsewhere, { recursive: true });
  });

  it('says who it is to a second one, and to a reset', async () => {
    for (const args of [['local'], ['local', 'reset']]) {
      const second = cli(args);
      expect(await second.ended).toBe(2);
      expect(second.stderr()).toContain(`already runs in ${join(root, '.streamgauge', 'local')} (process ${platform.child.pid})`);
    }
  });

  it('lends itself to a command, whose exit code comes back', async () => {
    const around = cli(['local', '--', process.execPath, '-e', 'console.log(process.env.ELASTICSEARCH_URL); process.exitCode = 7']);
    expect(await around.ended).toBe(7);
    expect(around.stdout()).toBe(`${environment.ELASTICSEARCH_URL}\n`);
    expect(platform.child.exitCode).toBeNull();
  });

  it.each([
    ['Spark', /SparkSubmit .*spark_server\.py/, 'Spark Connect', async () => (await sql('select 1'))?.[0]?.[0] === '1'],
    ['Secrets Manager', /aws_server\.py/, 'AWS services (moto)', async () => (await ask('AWS_ENDPOINT_URL_SECRETS_MANAGER', '/', 'none').then(({ status }) => status, () => 0)) > 0],
  ])('brings %s back when it is killed, and keeps its last words', async (_, commandLine, name, works) => {
    const engine = descendantsOf(platform.child.pid as number).find((pid) => commandLine.test(commandLineOf(pid)));
    process.kill(engine as number, 'SIGKILL');
    await allGone([engine as number]);
    await poll({ what: `${name} to be back`, deadlineMs: 120_000, intervalMs: 500 }, async () => ((await works().catch(() => false)) ? true : undefined));
    const log = () => readFileSync(logFile('platform.log'), 'utf8');
    expect(log()).toContain(`${name} ended with exit code 137; its log ends:`);
    // It answers a moment before the platform has seen that it does.
    await poll({ what: 'the platform to say so', deadlineMs: 30_000, intervalMs: 100 }, async () => (log().includes(`${name} is back`) ? true : undefined));
  });

  let alive = 0;
  it('leaves no process behind when it is killed with SIGKILL, in the middle of a run', async () => {
    const path = '/Shared/endless';
    const content = Buffer.from('import time\nprint("at work", flush=True)\ntime.sleep(3600)').toString('base64');
    await databricks('/api/2.0/workspace/import', { path, content, language: 'PYTHON', format: 'SOURCE' });
    const tasks = [{ task_key: 'endless', notebook_task: { notebook_path: path } }, { task_key: 'next', depends_on: [{ task_key: 'endless' }], notebook_task: { notebook_path: path } }];
    alive = (await databricks('/api/2.2/jobs/runs/submit', { tasks })).body.run_id;
    const { body } = await databricks(`/api/2.2/jobs/runs/get?run_id=${alive}`);
    await poll({ what: 'the task to be at work', deadlineMs: 120_000, intervalMs: 200 }, async () =>
      (await databricks(`/api/2.2/jobs/runs/get-output?run_id=${body.tasks[0].run_id}`)).body.logs === 'at work\n' ? true : undefined);
    const family = descendantsOf(platform.child.pid as number);
    expect(family.length).toBeGreaterThan(8);
    platform.child.kill('SIGKILL');
    await platform.ended;
    await allGone(family, 30_000);
  });

  it('has all its state when it is started again', async () => {
    platform = await up();
    expect(environment).toEqual(firstEnvironment);
    expect(await sql('select cast(n as string) from kept order by n')).toEqual([['41'], ['9007199254740993']]);
    const run = (await databricks(`/api/2.2/jobs/runs/get?run_id=${alive}`)).body;
    expect([run, ...run.tasks].map(({ state }) => [state.life_cycle_state, state.result_state])).toEqual(Array.from({ length: 3 }, () => ['INTERNAL_ERROR', 'FAILED']));
    expect((await databricks(`/api/2.2/jobs/runs/get-output?run_id=${run.tasks[0].run_id}`)).body.logs).toBe('at work\n');
    expect((await search('/traffic_windows/_doc/1')).body).toMatchObject({ found: true, _source: { n: 1 } });
    expect((await databricks('/api/2.0/secrets/scopes/list')).body.scopes).toContainEqual(expect.objectContaining({ name: 'kept' }));
    for (const verb of ['provision', 'deploy']) expect(JSON.parse(await output([verb, '-t', 'local', '--json']))).toMatchObject({ changed: false });
    const { partitions } = JSON.parse(await output(['status', '-t', 'local', '--json']));
    expect(partitions.reduce((sum: number, { end }: { end: number | string }) => sum + Number(end), 0)).toBe(1000);
  });

  it('ends on SIGINT with exit code 0, and leaves no process and no environment behind', async () => {
    const family = descendantsOf(platform.child.pid as number);
    platform.child.kill('SIGINT');
    expect(await platform.ended).toBe(0);
    await allGone(family, 1_000);
    expect(existsSync(environmentFile)).toBe(false);
  });

  it('is forgotten by a reset', async () => {
    expect(await cli(['local', 'reset']).ended).toBe(0);
    expect(existsSync(join(root, '.streamgauge', 'local'))).toBe(false);
  });
});
