import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parseEnv } from 'node:util';
import { sign } from 'hono/jwt';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import { placeOf } from '../src/databricks/bundle.ts';
import { connect, type Workspace } from '../src/databricks/client.ts';
import { findDeployed, removeDeployed } from '../src/databricks/destroy.ts';
import { me } from '../src/databricks/rest.ts';
import { readState } from '../src/databricks/state.ts';
import { Secret } from '../src/errors.ts';
import { federationKey } from '../src/local/facades/auth.ts';
import { createProject } from './acceptance/project.ts';
import { built } from './built.ts';
import { repository } from './config/bundle.ts';

// The steps of deploy.yml that are this project's own, run as GitHub runs them, target prod against the local platform. Only what is
// no part of this project is stood in for: `aws` answers the one question with a key, `gh` keeps what it was given, and GitHub gives its identity
// token, which the workspace exchanges for one of the service principal.

type Step = { name?: string; run?: string; env?: Record<string, string> };
type Ran = { code: number | null; output: string };

const KEY = 'a-key-from-secrets-manager';
const { plan: job } = (parse(readFileSync(join(repository, '.github/workflows/deploy.yml'), 'utf8')) as { jobs: Record<'plan', { steps: Step[] }> }).jobs;
// What databricks.yml says of target local, for its target prod: the platform has one broker and Spark's one catalog.
const { folder } = createProject('ci', { catalog: 'spark_catalog', subnets: 'subnet-local-a', broker_count: 1, partitions: 1, replication_factor: 1, min_insync_replicas: 1 });
/** As GitHub's variables and the exchange of tokens would give it: no `.streamgauge/prod.env` is in a checkout. */
const { DATABRICKS_TOKEN = '', ELASTICSEARCH_USERNAME = '', ELASTICSEARCH_PASSWORD = '', ...given } = parseEnv(readFileSync(join(folder, '.streamgauge/local.env'), 'utf8')) as Record<string, string>;
const clientId: string = JSON.parse(readFileSync(join(inject('platform').stateDir, 'credentials.json'), 'utf8')).databricksClientId;
const audience = `${given.DATABRICKS_HOST}/oidc/v1/token`;
const runner = mkdtempSync(join(tmpdir(), 'streamgauge-runner-'));
const inFolder = (name: string): string => readFileSync(join(folder, name), 'utf8');

/** What `${{ ... }}` stands for on this runner. */
const EXPRESSIONS: Record<string, string | undefined> = {
  'vars.ELASTICSEARCH_SECRET_ID': 'streamgauge/elasticsearch',
  'vars.DATABRICKS_HOST': given.DATABRICKS_HOST,
  'vars.DATABRICKS_CLIENT_ID': clientId,
  'vars.DATABRICKS_AUDIENCE': audience,
  'vars.ELASTICSEARCH_URL': given.ELASTICSEARCH_URL,
  'github.token': 'a-token-of-github',
  'github.event.pull_request.number': '7',
  'github.repository': 'owner/name',
};

const RUNNER: Record<string, string> = {
  ...given,
  HOME: runner,
  CI: 'true',
  GITHUB_ENV: join(runner, 'env'),
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of-this-run',
  PATH: [join(runner, 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter),
};

/** Runs one step with bash, with what earlier steps left in GITHUB_ENV; `instead` wins over the step's own environment. */
async function step(name: string, event: 'pull_request' | 'push', instead: Record<string, string> = {}): Promise<Ran> {
  const found = job.steps.find((each) => each.name?.startsWith(name));
  if (found?.run === undefined) throw new Error(`deploy.yml has no step ${name}`);
  const filled = Object.entries(found.env ?? {}).map(([variable, text]) => [variable, text.replaceAll(/\$\{\{ (.+?) \}\}/g, (_, expression: string) => EXPRESSIONS[expression] ?? raise(expression))]);
  const script = join(runner, 'script.sh');
  writeFileSync(script, found.run);
  const env = { ...RUNNER, ...parseEnv(readFileSync(RUNNER.GITHUB_ENV ?? '', 'utf8')), GITHUB_EVENT_NAME: event, ...Object.fromEntries(filled), ...instead };
  const child = spawn('bash', ['--noprofile', '--norc', '-eo', 'pipefail', script], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

function raise(expression: string): never {
  throw new Error(`nothing is known of ${expression}`);
}

function standIn(name: string, script: string): void {
  const file = join(runner, 'bin', name);
  writeFileSync(file, `#!/bin/bash\n${script}\n`);
  chmodSync(file, 0o755);
}

// The local Elasticsearch has no API keys: user and password instead.
const ENTERED = { ELASTICSEARCH_API_KEY: '', ELASTICSEARCH_USERNAME, ELASTICSEARCH_PASSWORD };
const run = (event: 'pull_request' | 'push', instead: Record<string, string> = ENTERED): Promise<Ran> => step('Plan, or deploy on main', event, instead);

let workspace: Workspace;
let config: Config;
let github: Server;
const deployedThings = async (): Promise<string[]> => (await findDeployed(workspace, config)).map(({ what }) => what);

beforeAll(async () => {
  // This process looks after what is there; a platform that was used before has a deployment.
  for (const target of ['local', 'prod']) config = loadConfig({ cwd: folder, target, vars: [], needsEnvironment: true });
  workspace = await connect(config.databricks);
  await removeDeployed(workspace, await findDeployed(workspace, config));
  rmSync(join(folder, '.streamgauge'), { recursive: true });
  const identity = await sign({ sub: 'repo:owner/name:environment:prod', aud: audience, exp: Math.floor(Date.now() / 1000) + 3600 }, federationKey(new Secret(DATABRICKS_TOKEN)), 'HS256');
  github = createServer((request, response) => {
    const isRun = request.headers.authorization === 'Bearer of-this-run' && new URL(request.url ?? '', 'http://x').searchParams.get('audience') === audience;
    response.end(JSON.stringify(isRun ? { value: identity } : {}));
  });
  await once(github.listen(0, '127.0.0.1'), 'listening');
  RUNNER.ACTIONS_ID_TOKEN_REQUEST_URL = `http://127.0.0.1:${(github.address() as AddressInfo).port}/token?api-version=2`;
  // For npx, the real one.
  mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
  symlinkSync(join(built(), 'start.mjs'), join(folder, 'node_modules/.bin/streamgauge'));
  mkdirSync(join(runner, 'bin'));
  writeFileSync(join(runner, 'env'), '');
  standIn('aws', `[ "$*" = 'secretsmanager get-secret-value --secret-id streamgauge/elasticsearch --query SecretString --output text' ] || exit 252\n[ -z "$REFUSED" ] || exit 254\necho ${KEY}`);
  standIn('gh', `printf '%s\\n' "$GH_TOKEN" "$@" > gh.txt`);
});
afterAll(async () => {
  github.close();
  await removeDeployed(workspace, await findDeployed(workspace, config));
});

describe('deploy.yml, its own scripts', () => {
  it('the key is masked before it stands anywhere, and the next steps have it; one that cannot be read ends the job', async () => {
    expect(await step('Elasticsearch API key', 'push', { REFUSED: 'yes' })).toEqual({ code: 254, output: '' });
    expect(readFileSync(join(runner, 'env'), 'utf8')).toBe('');
    expect(await step('Elasticsearch API key', 'push')).toEqual({ code: 0, output: `::add-mask::${KEY}\n` });
    expect(readFileSync(join(runner, 'env'), 'utf8')).toBe(`ELASTICSEARCH_API_KEY=${KEY}\n`);
  });

  it('a plan, or a deployment, that fails fails the step, and says no secret', async () => {
    // The local Elasticsearch refuses that key.
    for (const event of ['pull_request', 'push'] as const) {
      const refused = await run(event, {});
      expect([refused.code, refused.output]).toEqual([3, expect.stringMatching(/Elasticsearch/i)]);
      expect(refused.output).not.toContain(KEY);
    }
    expect(inFolder('plan.txt')).toBe('');
  });

  it('a pull request changes nothing and gets its plan as a comment; a push deploys, and nothing is left to do', async () => {
    const planned = await run('pull_request');
    expect([planned.code, planned.output]).toEqual([0, expect.stringContaining(inFolder('plan.txt'))]);
    expect(await step('The plan as a comment', 'pull_request')).toEqual({ code: 0, output: '' });
    expect(inFolder('gh.txt')).toBe('a-token-of-github\npr\ncomment\n7\n--repo\nowner/name\n--body-file\ncomment.md\n--edit-last\n--create-if-none\n');
    expect(inFolder('comment.md')).toBe(`What \`streamgauge deploy -t prod\` would do:\n\n\`\`\`\n${inFolder('plan.txt')}\`\`\`\n`);
    expect(inFolder('plan.txt')).toMatch(/create +job +traffic_counter/);
    expect(await deployedThings()).not.toContain('job');

    const deployed = await run('push');
    expect(deployed).toMatchObject({ code: 0 });
    expect(await deployedThings()).toEqual(expect.arrayContaining(['job', 'folder', 'secret scope']));
    expect((await readState(workspace, placeOf(config, await me(workspace)))).history?.at(-1)?.by).toBe(clientId);
    const again = await run('pull_request');
    expect([again.code, inFolder('plan.txt')]).toEqual([0, expect.stringMatching(/^Nothing to do/)]);
    for (const { output } of [planned, deployed, again]) expect(output).not.toContain(ELASTICSEARCH_PASSWORD);
  });
});
