import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { cached } from './cache.ts';

const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

/** A jar of Maven Central's by its coordinates (`group:artifact:version`, or `group:artifact:version:jar:classifier`). */
export async function jar(coordinates: string): Promise<string> {
  const [, artifact, version, , classifier] = coordinates.split(':');
  const name = `${[artifact, version, ...(classifier === undefined ? [] : [classifier])].join('-')}.jar`;
  return cached(name, async (folder) => {
    await mvn(`${PLUGIN}:copy`, `-Dartifact=${coordinates}`, `-DoutputDirectory=${folder}`);
    return join(folder, name);
  });
}

/** The jars that a POM names and those that they need. `properties` are the POM's. */
export async function jars(pom: string, properties: Record<string, string>): Promise<string[]> {
  const given = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`);
  const digest = createHash('sha256').update(readFileSync(pom)).update(given.join()).digest('hex').slice(0, 16);
  const brought = await cached(`${basename(pom, '.pom.xml')}-${digest}`, async (folder) => {
    await mvn('-f', pom, ...given, `${PLUGIN}:copy-dependencies`, `-DoutputDirectory=${folder}`);
    return folder;
  });
  return globSync('*.jar', { cwd: brought }).map((name) => join(brought, name));
}

async function mvn(...args: string[]): Promise<void> {
  await promisify(execFile)('mvn', ['-q', '-B', ...args], { maxBuffer: 2 ** 24 });
}
