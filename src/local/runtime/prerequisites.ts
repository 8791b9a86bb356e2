import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Failure } from '../../errors.ts';

export type Prerequisites = {
  /** Absolute path of the java binary, 17 or later. */
  java: string;
  /** As it says itself, with build: `17.0.15+6-Debian`. */
  javaVersion: string;
  /** Absolute path of a Python >= 3.10 (not of a version manager's shim). */
  python: string;
  /** `3.11` */
  pythonVersion: string;
};

export type PrerequisiteOptions = {
  /** Maven is needed only where something is still to be installed. */
  maven: boolean;
  /** Searched instead of PATH. */
  path?: string;
};

type Finding<T> = { found: T } | { missing: string; packages: { apt: string; brew: string } };

const run = promisify(execFile);

/** Finds java, python3 and (if asked) mvn; throws one PREREQUISITES_MISSING that names all that is missing or too old, and how to install it. */
export async function findPrerequisites(options: PrerequisiteOptions): Promise<Prerequisites> {
  const [java, python, maven] = await Promise.all([findJava(options), findPython(options), options.maven ? findMaven(options) : { found: undefined }]);
  if ('found' in java && 'found' in python && 'found' in maven) return { ...java.found, ...python.found };
  const gaps = [java, python, maven].filter((finding) => 'missing' in finding);
  throw new Failure({
    code: 'PREREQUISITES_MISSING',
    kind: 'usage',
    message: `the local platform needs ${gaps.map((gap) => gap.missing).join('; ')}`,
    hint: `install what is missing: ${installCommand(gaps.map((gap) => gap.packages))}`,
  });
}

function installCommand(packages: { apt: string; brew: string }[]): string {
  if (process.platform === 'darwin') return `brew install ${packages.map((p) => p.brew).join(' ')}`;
  return `sudo apt-get install -y ${packages.map((p) => p.apt).join(' ')}`;
}

async function findJava(options: PrerequisiteOptions): Promise<Finding<{ java: string; javaVersion: string }>> {
  const packages = { apt: 'openjdk-17-jre-headless', brew: 'openjdk@17' };
  const output = await outputOf('java', ['-XshowSettings:properties', '-version'], options);
  if (output === undefined) return { missing: 'Java 17 or later (no java runs)', packages };
  const version = /java\.specification\.version = (\S+)/.exec(output)?.[1] ?? '';
  const home = /java\.home = (.+)/.exec(output)?.[1]?.trim();
  // Before 9 it was "1.8".
  if (home === undefined || Number.parseInt(version, 10) < 17) return { missing: `Java 17 or later (found ${version || 'an unknown one'})`, packages };
  const javaVersion = /java\.(?:runtime|vm)\.version = (\S+)/.exec(output)?.[1] ?? version;
  return { found: { java: join(home, 'bin', 'java'), javaVersion } };
}

async function findPython(options: PrerequisiteOptions): Promise<Finding<{ python: string; pythonVersion: string }>> {
  const packages = { apt: 'python3 python3-venv', brew: 'python@3.12' };
  // ensurepip and venv are a package of their own on Debian.
  const program = 'import sys; print("%d.%d" % sys.version_info[:2]); print(sys.executable); import ensurepip, venv; print("complete")';
  const output = await outputOf('python3', ['-I', '-c', program], options);
  const [version, python, complete] = output?.split('\n') ?? [];
  if (version === undefined || python === undefined) return { missing: 'Python 3.10 or later (no python3 runs)', packages };
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < 3 || (major === 3 && minor < 10)) return { missing: `Python 3.10 or later (found ${version})`, packages };
  if (complete !== 'complete') return { missing: `the venv module of Python ${version}`, packages: { ...packages, apt: `python${version}-venv` } };
  return { found: { python, pythonVersion: version } };
}

async function findMaven(options: PrerequisiteOptions): Promise<Finding<undefined>> {
  const packages = { apt: 'maven', brew: 'maven' };
  const output = await outputOf('mvn', ['-B', '-version'], options);
  const version = /Apache Maven (\d+)\.(\d+)/.exec(output ?? '');
  if (version === null) return { missing: 'Maven 3.6.3 or later (no mvn runs)', packages };
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major < 3 || (major === 3 && minor < 6)) return { missing: `Maven 3.6.3 or later (found ${major}.${minor})`, packages };
  return { found: undefined };
}

/** Everything the command says, on either stream, whatever its exit code; undefined if it says nothing or cannot run. */
async function outputOf(command: string, args: string[], { path }: PrerequisiteOptions): Promise<string | undefined> {
  const options = { timeout: 30_000, ...(path === undefined ? {} : { env: { PATH: path } }) };
  const { stdout, stderr } = await run(command, args, options).catch((error: { stdout?: string; stderr?: string }) => ({
    stdout: error.stdout ?? '',
    stderr: error.stderr ?? '',
  }));
  return `${stdout}${stderr}`.trim() || undefined;
}
