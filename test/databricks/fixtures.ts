import nock from 'nock';
import { afterEach, beforeEach } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { connect, type Workspace } from '../../src/databricks/client.ts';

export const HOST = 'https://dbc-a1b2c3d4-e5f6.cloud.databricks.com';
export const ME = { userName: 'ada.lovelace@example.com', id: '1' };

/** A Config as the loader makes it for target dev, with what a test overrides. */
export function configOf(overrides: Partial<Config> = {}): Config {
  return {
    bundle: 'streamgauge',
    target: 'dev',
    mode: 'development',
    root: process.cwd(),
    variables: {},
    pipeline: { catalog: 'main', schema: 'streamgauge_dev', secret_scope: 'streamgauge_dev', topics: ['traffic_counter'] } as unknown as Config['pipeline'],
    jobs: [],
    syncPaths: ['notebooks'],
    databricks: { host: HOST, profile: undefined, rootPath: '/Workspace/Users/${workspace.current_user.userName}/.bundle/streamgauge/dev', httpPath: undefined },
    elasticsearch: undefined,
    awsRegion: undefined,
    platformVariables: {},
    ci: true,
    ...overrides,
  };
}

/** For each test of the file: nothing is answered but what it prepared, and all of that must have been asked for. */
export function onlyPreparedAnswers(): void {
  beforeEach(() => nock.disableNetConnect());
  afterEach(() => {
    const pending = nock.pendingMocks();
    nock.cleanAll();
    nock.enableNetConnect();
    if (pending.length > 0) throw new Error(`never asked for: ${pending.join(', ')}`);
  });
}

/** A workspace whose pauses between tries are short; the token comes from the environment, as a user's does. */
export function testWorkspace(signal?: AbortSignal): Promise<Workspace> {
  return connect(configOf().databricks, { firstPauseMs: 1, attempts: 4, signal });
}

/** Runs `body` with a token in the environment and no profile of the machine's user in reach. */
export async function withToken<T>(body: () => Promise<T>, token: string | null = 'dapi-token'): Promise<T> {
  const names = Object.keys(process.env).filter((name) => name.startsWith('DATABRICKS_') || name.startsWith('ARM_') || name.startsWith('GOOGLE_'));
  const kept = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  for (const name of names) delete process.env[name];
  Object.assign(process.env, { DATABRICKS_CONFIG_FILE: '/nonexistent/databrickscfg', ...(token === null ? {} : { DATABRICKS_TOKEN: token }) });
  try {
    return await body();
  } finally {
    delete process.env.DATABRICKS_CONFIG_FILE;
    delete process.env.DATABRICKS_TOKEN;
    Object.assign(process.env, kept);
  }
}
