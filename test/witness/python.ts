import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { takeLock } from '../../src/local/runtime/lock.ts';
import { findPrerequisites } from '../../src/local/runtime/prerequisites.ts';
import { cache } from './cache.ts';

const run = promisify(execFile);
const requirements = join(import.meta.dirname, 'requirements.txt');

/** The Python with the pinned third-party clients; the first call on a machine installs it into the engines' cache. */
export async function witnessPython(): Promise<string> {
  const { python, pythonVersion } = await findPrerequisites({ maven: false });
  const digest = createHash('sha256').update(readFileSync(requirements)).update(pythonVersion).digest('hex').slice(0, 16);
  const folder = join(cache, `witness-${digest}`);
  const [installed, marker] = [join(folder, 'bin', 'python3'), join(folder, 'complete')];
  if (existsSync(marker)) return installed;
  const lock = await takeLock({ python, file: `${folder}.lock`, onWait: () => {} });
  if (!('release' in lock)) throw new Error('the lock is waited for');
  try {
    if (existsSync(marker)) return installed;
    // Without its marker it is half of an installation.
    await rm(folder, { recursive: true, force: true });
    await run(python, ['-m', 'venv', folder]);
    await run(installed, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', requirements], { maxBuffer: 2 ** 24 });
    await writeFile(marker, '');
    return installed;
  } finally {
    await lock.release();
  }
}

/**
 * Runs one function of a Python file beside this one and returns what it returned, as JSON. The process sees `environment`
 * and an empty HOME, so that no configuration of this machine's user leaks in; an exception there is an Error here.
 */
export async function witness(file: string, name: string, environment: Record<string, string>, input: object = {}): Promise<any> {
  const program = `import json, sys; sys.path.insert(0, ${JSON.stringify(import.meta.dirname)}); import ${file} as w; print("\\n" + json.dumps(w.${name}(**json.loads(sys.argv[1]))))`;
  const env = { PATH: process.env.PATH ?? '', HOME: mkdtempSync(join(tmpdir(), 'streamgauge-home-')), PYTHONDONTWRITEBYTECODE: '1', ...environment };
  const { stdout } = await run(await witnessPython(), ['-c', program, JSON.stringify(input)], { env, maxBuffer: 2 ** 26 });
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? 'null');
}
