import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { planInstall } from '../../src/local/runtime/install.ts';
import { takeLock, type Lock } from '../../src/local/runtime/lock.ts';
import { findPrerequisites } from '../../src/local/runtime/prerequisites.ts';

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-install-'));
vi.setConfig({ testTimeout: 60_000 });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the lists', () => {
  it('name every file by its exact version', async () => {
    const plan = await planInstall('/cache', '3.11');
    expect(plan.folder).toMatch(/^\/cache\/[0-9a-f]{16}$/);
    expect(plan.jars).toContain('kafka_2.13-4.1.0.jar');
    expect(plan.jars).toContain('delta-spark_4.1_2.13-4.1.0.jar');
    expect(plan.jars).toContain('elasticsearch-8.19.0.zip');
    expect(plan.jars.filter((jar) => !/-\d[\w.-]*\.(jar|zip)$/.test(jar))).toEqual([]);
    expect(plan.pom.match(/<version>[^<]*[[(,$][^<]*<\/version>/g)).toBeNull();
    const loose = plan.requirements.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !/^[\w.-]+==[\w.]+(; python_version [<>=]+ "[\d.]+")?$/.test(line));
    expect(loose).toEqual([]);
    expect(plan.wheels).toEqual(expect.arrayContaining(['pyspark', 'moto', 'grpcio']));
  });

  it('lead to another folder for another Python, and to the same one again', async () => {
    const [one, same, other] = await Promise.all(['3.11', '3.11', '3.12'].map((version) => planInstall('/cache', version)));
    expect(one?.folder).toBe(same?.folder);
    expect(one?.folder).not.toBe(other?.folder);
  });
});

describe('the prerequisites', () => {
  let path = '';
  beforeEach(() => {
    path = mkdtempSync(join(folder, 'path-'));
  });

  function program(name: string, script: string): void {
    const file = join(path, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
  }
  const java = (version: string) => program('java', `echo "    java.home = /opt/jdk" >&2; echo "    java.specification.version = ${version}" >&2`);
  const python = (version: string, complete = 'complete') => program('python3', `printf '${version}\\n/opt/python\\n${complete}\\n'`);
  const maven = (version: string) => program('mvn', `echo "Apache Maven ${version} (x)"`);

  it('are found where they are new enough', async () => {
    java('21');
    python('3.10');
    maven('3.9.9');
    expect(await findPrerequisites({ maven: true, path })).toEqual({ java: '/opt/jdk/bin/java', javaVersion: '21', python: '/opt/python', pythonVersion: '3.10' });
  });

  it('are named all together, each with what installs it', async () => {
    const missing = await findPrerequisites({ maven: true, path }).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: 'PREREQUISITES_MISSING', kind: 'usage' });
    expect((missing as Error).message).toBe('the local platform needs Java 17 or later (no java runs); Python 3.10 or later (no python3 runs); Maven 3.6.3 or later (no mvn runs)');
    const command = process.platform === 'darwin' ? 'brew install openjdk@17 python@3.12 maven' : 'sudo apt-get install -y openjdk-17-jre-headless python3 python3-venv maven';
    expect(missing).toMatchObject({ hint: `install what is missing: ${command}` });
  });

  it.each([
    ['1.8', '3.11', '3.9.9', 'complete', 'Java 17 or later (found 1.8)'],
    ['11', '3.11', '3.9.9', 'complete', 'Java 17 or later (found 11)'],
    ['17', '3.9', '3.9.9', 'complete', 'Python 3.10 or later (found 3.9)'],
    ['17', '2.7', '3.9.9', 'complete', 'Python 3.10 or later (found 2.7)'],
    ['17', '3.11', '3.9.9', '', 'the venv module of Python 3.11'],
    ['17', '3.11', '3.3.9', 'complete', 'Maven 3.6.3 or later (found 3.3)'],
  ])('java %s, python %s, mvn %s: %s', async (javaVersion, pythonVersion, mavenVersion, complete, message) => {
    java(javaVersion);
    python(pythonVersion, complete);
    maven(mavenVersion);
    await expect(findPrerequisites({ maven: true, path })).rejects.toThrow(`the local platform needs ${message}`);
  });

  it('do not include Maven once everything is installed', async () => {
    java('17');
    python('3.12');
    await expect(findPrerequisites({ maven: false, path })).resolves.toMatchObject({ pythonVersion: '3.12' });
  });
});

describe('a lock', () => {
  const file = join(folder, 'locks', 'it.lock');
  const take = (onWait?: (pid: string) => void, signal?: AbortSignal) => takeLock({ python: 'python3', file, onWait, signal });

  it('has one owner, whose pid others are told; released, it is free', async () => {
    const lock = (await take()) as Lock;
    expect(await take()).toEqual({ ownerPid: String(process.pid) });
    await lock.release();
    const again = (await take()) as Lock;
    expect(again).toHaveProperty('release');
    await again.release();
  });

  it('lets the second wait, who says so', async () => {
    const first = (await take()) as Lock;
    const told = Promise.withResolvers<string>();
    const second = take(told.resolve);
    expect(await told.promise).toBe(String(process.pid));
    await first.release();
    await ((await second) as Lock).release();
  });

  it('is not kept by an owner that was killed', async () => {
    const owner = spawn(process.execPath, [join(import.meta.dirname, 'fixtures', 'lock-owner.ts'), file], { stdio: ['ignore', 'pipe', 'ignore'] });
    expect(String(await once(owner.stdout, 'data'))).toBe('locked\n');
    const told = Promise.withResolvers<string>();
    const next = take(told.resolve);
    expect(await told.promise).toBe(String(owner.pid));
    owner.kill('SIGKILL');
    await ((await next) as Lock).release();
  });

  it('can be given up while waiting', async () => {
    const first = (await take()) as Lock;
    const giveUp = new AbortController();
    const second = take(() => giveUp.abort(new Error('enough')), giveUp.signal);
    await expect(second).rejects.toThrow('enough');
    await first.release();
    await ((await take()) as Lock).release();
  });

  it('whose file cannot be made is an error', async () => {
    mkdirSync(join(folder, 'directory.lock'), { recursive: true });
    await expect(takeLock({ python: 'python3', file: join(folder, 'directory.lock') })).rejects.toMatchObject({ code: 'LOCK_FAILED' });
  });
});
