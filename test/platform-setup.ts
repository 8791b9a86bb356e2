import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import type { ProvidedContext } from 'vitest';
import type { TestProject } from 'vitest/node';
import type { Runtime } from '../src/local/contract.ts';
import { start } from '../src/local/platform.ts';
import { install } from '../src/local/runtime/install.ts';
import { built } from './built.ts';
import { copyBundle } from './config/bundle.ts';
import { freePortOffset } from './local/ports.ts';
import { hadoopFolder } from './witness/stores/hadoop.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** What `.streamgauge/local.env` holds. */
    environment: Record<string, string>;
    /** `hadoopDir`: with stores of objects that listen once somebody starts them; undefined for a platform that was started without. */
    platform: { stateDir: string; runtime: Runtime; hadoopDir: string | undefined };
  }
}

/**
 * Starts the platform once for all files of the project `platform`, on ports of its own, and stops it at the end.
 * STREAMGAUGE_TEST_STATE names a folder to use and to keep, for its logs. STREAMGAUGE_TEST_ENVIRONMENT names the
 * `.streamgauge` folder of a platform that runs already: the tests use that one, and leave it alone;
 * STREAMGAUGE_HADOOP_DIR then names what `hadoopFolder` made for it, if it was started with that.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const running = process.env.STREAMGAUGE_TEST_ENVIRONMENT;
  if (running !== undefined) return useRunning(project, running);
  const { environment, platform, stop } = await (shared.streamgaugePlatform ??= begin());
  project.provide('environment', environment);
  project.provide('platform', platform);
  return stop;
}

type Started = { environment: Record<string, string>; platform: ProvidedContext['platform']; stop(): Promise<void> };

/** Each project evaluates this module for itself; the platform is one for all. */
const shared = globalThis as { streamgaugePlatform?: Promise<Started> };

async function begin(): Promise<Started> {
  // Before there are workers that would each do it.
  built();
  const kept = process.env.STREAMGAUGE_TEST_STATE;
  const folder = kept ?? (await mkdtemp(join(tmpdir(), 'streamgauge-platform-')));
  // Spark must know where it is when it starts.
  const installing = install({ cache: process.env.STREAMGAUGE_CACHE, progress: ({ what }) => say(what) });
  const [runtime, hadoopDir] = await Promise.all([installing, hadoopFolder(installing)]);
  const platform = await start({
    hadoopDir,
    stateDir: join(folder, 'local'),
    environmentFile: join(folder, 'local.env'),
    cache: process.env.STREAMGAUGE_CACHE,
    ports: { offset: Number(process.env.STREAMGAUGE_PORT_OFFSET ?? (await freePortOffset())) },
    progress: { update: say, note: say },
  });
  void platform.failed.then((failure) => say(`${failure.message}`));
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await platform.stop();
    if (kept === undefined) await rm(folder, { recursive: true, force: true });
    await rm(hadoopDir, { recursive: true, force: true });
  };
  await provision(join(folder, 'local.env')).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  // Whichever project ends first: by then no test of any runs.
  return { environment: platform.environment, platform: { stateDir: join(folder, 'local'), runtime, hadoopDir }, stop: () => (stopping ??= stop()) };
}

/** The cluster that the scenarios share, and its users: those that begin at the same time would all wait for them. */
async function provision(environmentFile: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'streamgauge-shared-'));
  try {
    await cp(environmentFile, join(folder, '.streamgauge', 'local.env'));
    copyBundle(folder);
    const { PATH = '', HOME = '' } = process.env;
    await promisify(execFile)(process.execPath, [join(built(), 'start.mjs'), 'provision', '-t', 'local'], { cwd: folder, env: { PATH, HOME, CI: 'true' } });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function useRunning(project: TestProject, folder: string): Promise<() => Promise<void>> {
  const environment = parseEnv(await readFile(join(folder, 'local.env'), 'utf8')) as Record<string, string>;
  project.provide('environment', environment);
  project.provide('platform', { stateDir: join(folder, 'local'), runtime: await install({ cache: process.env.STREAMGAUGE_CACHE, progress: () => undefined }), hadoopDir: process.env.STREAMGAUGE_HADOOP_DIR });
  return async () => undefined;
}

let said = '';

function say(text: string): void {
  if (text !== said) process.stderr.write(`platform: ${text}\n`);
  said = text;
}
