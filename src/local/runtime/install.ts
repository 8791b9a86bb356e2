import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Failure, messageOf } from '../../errors.ts';
import type { Runtime } from '../contract.ts';
import { startProcess, type ProcessSpec } from '../servers/process.ts';
import { findArchive, makeArchive, type SparkArchive } from './archive.ts';
import { runtimeFile } from './files.ts';
import { takeLock } from './lock.ts';
import { findPrerequisites, type Prerequisites } from './prerequisites.ts';

export type InstallOptions = {
  /** Folder that holds every installation; `~/.cache/streamgauge` unless given (STREAMGAUGE_CACHE). */
  cache?: string;
  progress: (step: InstallStep) => void;
  signal?: AbortSignal;
};

/** `done` of `total` files of `what`; total 0 where it cannot be counted. */
export type InstallStep = { what: string; done: number; total: number };

/** What is to be installed, and where: the folder's name is a digest of the lists, so another list is another folder. */
export type InstallPlan = { folder: string; marker: string; pom: string; requirements: string; jars: string[]; wheels: string[] };

const lists = { pom: runtimeFile('pom.xml'), requirements: runtimeFile('requirements.txt') };
/** One per execution in pom.xml, which is also the folder it fills. */
const mavenGoals = ['dependency:copy@kafka', 'dependency:copy@spark', 'dependency:unpack@elasticsearch'];

/** Installs the engines once per version of the lists and returns where they are; prerequisites are checked before any download. */
export async function install(options: InstallOptions): Promise<Runtime> {
  const cache = options.cache ?? join(homedir(), '.cache', 'streamgauge');
  const found = await findPrerequisites({ maven: false });
  const plan = await planInstall(cache, found.pythonVersion);
  if (!(await exists(plan.marker))) {
    await findPrerequisites({ maven: true });
    await withLock(plan, found, options, () => installOnce(plan, cache, found, options));
  }
  const runtime = await runtimeOf(plan, found);
  const archive = (await findArchive(plan.folder, found)) ?? (await withLock(plan, found, options, () => archiveOnce(plan, runtime, found, options)));
  return { ...runtime, sparkArchive: archive.file };
}

/** Reads the lists: the same lists and Python give the same folder. */
export async function planInstall(cache: string, pythonVersion: string): Promise<InstallPlan> {
  const [pom, requirements] = await Promise.all([readFile(lists.pom, 'utf8'), readFile(lists.requirements, 'utf8')]);
  // A venv belongs to one Python, wheels to one platform.
  const digest = createHash('sha256').update(JSON.stringify([pom, requirements, pythonVersion, process.platform, process.arch]));
  const folder = join(cache, digest.digest('hex').slice(0, 16));
  return {
    folder,
    marker: join(folder, 'installed'),
    pom,
    requirements,
    jars: [...pom.matchAll(/<artifactId>([^<]+)<\/artifactId><version>([^<]+)<\/version>(?:<type>(\w+)<\/type>)?/g)].map(
      ([, artifact, version, type = 'jar']) => `${artifact}-${version}.${type}`,
    ),
    wheels: [...new Set(requirements.match(/^[\w.-]+(?===)/gm))],
  };
}

async function withLock<T>(plan: InstallPlan, found: Prerequisites, options: InstallOptions, work: () => Promise<T>): Promise<T> {
  const lock = await takeLock({
    python: found.python,
    file: `${plan.folder}.lock`,
    signal: options.signal,
    onWait: (pid) => options.progress({ what: `waiting for process ${pid}, which installs the engines now`, done: 0, total: 0 }),
  });
  if ('ownerPid' in lock) throw new RangeError('takeLock waits where it is given onWait');
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

async function archiveOnce(plan: InstallPlan, runtime: Runtime, found: Prerequisites, options: InstallOptions): Promise<SparkArchive> {
  const known = await findArchive(plan.folder, found);
  if (known !== undefined) return known;
  options.progress({ what: 'preparing Spark for fast starts, once', done: 0, total: 0 });
  return makeArchive(runtime, plan.folder, found, options.signal);
}

async function installOnce(plan: InstallPlan, cache: string, found: Prerequisites, options: InstallOptions): Promise<void> {
  if (await exists(plan.marker)) return;
  await clearStaging(cache, plan);
  const staging = `${plan.folder}.staging-${process.pid}`;
  await mkdir(staging, { recursive: true });
  await fill(staging, plan, found, options);
  await writeFile(join(staging, 'installed'), `${new Date().toISOString()}\n`, { flush: true });
  await rm(plan.folder, { recursive: true, force: true });
  await rename(staging, plan.folder);
}

/** What an interrupted installation left: under the lock nobody else is writing it. */
async function clearStaging(cache: string, plan: InstallPlan): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    if (path.startsWith(`${plan.folder}.staging-`)) await rm(path, { recursive: true, force: true });
  }
}

async function fill(staging: string, plan: InstallPlan, found: Prerequisites, options: InstallOptions): Promise<void> {
  // A copy: Maven writes beside its pom.
  const pom = join(staging, 'pom.xml');
  const requirements = join(staging, 'requirements.txt');
  await Promise.all([copyFile(lists.pom, pom), copyFile(lists.requirements, requirements)]);
  const either = new AbortController();
  const signal = AbortSignal.any([either.signal, ...(options.signal ? [options.signal] : [])]);
  const step = { ...options, signal, found, staging };
  // The first failure stops the other tool; both have ended before the lock goes.
  const tools = [installJars(step, plan, pom), installPython(step, plan, requirements)];
  for (const tool of tools) tool.catch((error: unknown) => either.abort(error));
  await Promise.allSettled(tools);
  await Promise.all(tools);
  signal.throwIfAborted();
}

type Step = { staging: string; found: Prerequisites; progress: InstallOptions['progress']; signal: AbortSignal };

async function installJars(step: Step, plan: InstallPlan, pom: string): Promise<void> {
  const what = 'Kafka, Delta and Elasticsearch (Maven)';
  const args = ['-B', '-f', pom, `-DinstallTo=${join(step.staging, 'jars')}`, ...mavenGoals];
  await runTool(step, what, { name: 'mvn', command: 'mvn', args }, counter(step, what, plan.jars, /Downloaded from \S+: \S+\/([^/\s]+)/g));
  step.progress({ what, done: plan.jars.length, total: plan.jars.length });
  await rm(join(step.staging, 'target'), { recursive: true, force: true });
}

async function installPython(step: Step, plan: InstallPlan, requirements: string): Promise<void> {
  const what = 'Spark and moto (pip)';
  const venv = join(step.staging, 'venv');
  await runTool(step, what, { name: 'venv', command: step.found.python, args: ['-m', 'venv', venv] });
  // No --progress-bar: one line for each package is what is counted.
  const args = ['-m', 'pip', 'install', '--no-deps', '--disable-pip-version-check', '--progress-bar', 'off', '-r', requirements];
  const count = counter(step, what, plan.wheels, /^Collecting ([\w.-]+)/gm);
  await runTool(step, what, { name: 'pip', command: join(venv, 'bin', 'python3'), args }, count);
}

/** Counts those of `wanted` that a tool's output names; what it fetches for itself does not count. */
function counter(step: Step, what: string, wanted: string[], line: RegExp): (text: string) => void {
  const left = new Set(wanted);
  const tell = () => step.progress({ what, done: wanted.length - left.size, total: wanted.length });
  tell();
  return (text) => {
    for (const match of text.matchAll(line)) if (left.delete(match[1] ?? '')) tell();
  };
}

async function runTool(step: Step, what: string, tool: Pick<ProcessSpec, 'name' | 'command' | 'args'>, onOutput: (text: string) => void = () => {}) {
  step.signal.throwIfAborted();
  const logFile = `${step.staging.replace(/\.staging-.*/, '')}.${tool.name}.log`;
  const started = await startProcess({ ...tool, python: step.found.python, logFile, inheritEnvironment: true, onOutput });
  const stop = () => void started.stop();
  step.signal.addEventListener('abort', stop, { once: true });
  const exit = await started.exited;
  step.signal.removeEventListener('abort', stop);
  step.signal.throwIfAborted();
  if (exit.code === 0) return;
  throw new Failure({
    code: 'INSTALL_FAILED',
    kind: 'remote',
    message: `installing ${what} failed: ${tool.name} ended with exit code ${exit.code}; its log ends:\n${await started.logTail()}`,
    hint: `see ${logFile}, then run the same command again: what was downloaded is kept`,
  });
}

async function runtimeOf(plan: InstallPlan, found: Prerequisites): Promise<Runtime> {
  const venv = join(plan.folder, 'venv');
  const sparkHome = join(venv, 'lib', `python${found.pythonVersion}`, 'site-packages', 'pyspark');
  try {
    return {
      java: found.java,
      python: join(venv, 'bin', 'python3'),
      sparkHome,
      librariesDir: join(plan.folder, 'libraries'),
      kafkaClasspath: await classpath(join(plan.folder, 'jars', 'kafka')),
      sparkExtraClasspath: await classpath(join(plan.folder, 'jars', 'spark')),
      sparkConnectJar: await only(join(sparkHome, 'jars'), /^spark-connect_[\d.]+-[\d.]+\.jar$/),
      elasticsearchHome: await only(join(plan.folder, 'jars', 'elasticsearch'), /^elasticsearch-/),
    };
  } catch (cause) {
    throw new Failure({
      code: 'INSTALLATION_DAMAGED',
      kind: 'unexpected',
      message: `the engines in ${plan.folder} are not complete: ${messageOf(cause)}`,
      hint: `rm -r ${plan.folder}, then run the same command again`,
      cause,
    });
  }
}

async function classpath(folder: string): Promise<string> {
  const jars = (await readdir(folder)).filter((name) => name.endsWith('.jar'));
  return jars.sort().map((name) => join(folder, name)).join(':');
}

async function only(folder: string, name: RegExp): Promise<string> {
  const found = (await readdir(folder)).find((entry) => name.test(entry));
  if (found === undefined) throw new Error(`${folder} holds nothing like ${name.source}`);
  return join(folder, found);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
