import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A jar of Maven Central's by its coordinates (`group:artifact:version`); the first call on a machine brings it into the engines' cache. */
export async function jarOf(coordinates: string): Promise<string> {
  const [, artifact, version] = coordinates.split(':');
  const name = `${artifact}-${version}.jar`;
  const cache = process.env.STREAMGAUGE_CACHE ?? join(homedir(), '.cache', 'streamgauge');
  const jar = join(cache, name);
  if (existsSync(jar)) return jar;
  const folder = await mkdtemp(join(cache, 'jar-'));
  try {
    await run('mvn', ['-q', '-B', 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy', `-Dartifact=${coordinates}`, `-DoutputDirectory=${folder}`], { maxBuffer: 2 ** 24 });
    await rename(join(folder, name), jar);
    return jar;
  } finally {
    await rm(folder, { recursive: true });
  }
}
