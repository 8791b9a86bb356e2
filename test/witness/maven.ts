import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const cache = process.env.STREAMGAUGE_CACHE ?? join(homedir(), '.cache', 'streamgauge');

/** A jar of Maven Central's by its coordinates (`group:artifact:version`); undefined where it cannot be reached, and said so: `what` is not tried then. */
export async function jarIfReachable(what: string, coordinates: string): Promise<string | undefined> {
  const [, artifact, version] = coordinates.split(':');
  const name = `${artifact}-${version}.jar`;
  return reached(what, brought(name, ['-B', `${PLUGIN}:copy`, `-Dartifact=${coordinates}`], (folder) => join(folder, name)));
}

/** A folder with the jars that a POM names and those that they need; undefined as above. `properties` are the POM's. */
export async function jarsIfReachable(what: string, pom: string, properties: Record<string, string>): Promise<string | undefined> {
  const given = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`);
  const digest = createHash('sha256').update(readFileSync(pom)).update(given.join()).digest('hex').slice(0, 16);
  return reached(what, brought(`${basename(pom, '.pom.xml')}-${digest}`, ['-B', '-f', pom, ...given, `${PLUGIN}:copy-dependencies`], (folder) => folder));
}

/** The first call on a machine brings it into the engines' cache, whole or not at all. */
async function brought(name: string, args: string[], from: (folder: string) => string): Promise<string> {
  const wanted = join(cache, name);
  if (existsSync(wanted)) return wanted;
  const folder = await mkdtemp(join(cache, 'jar-'));
  try {
    await run('mvn', ['-q', ...args, `-DoutputDirectory=${folder}`], { maxBuffer: 2 ** 24 });
    await rename(from(folder), wanted);
    return wanted;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function reached(what: string, bringing: Promise<string>): Promise<string | undefined> {
  return bringing.catch((error: Error) => {
    process.stderr.write(`${what} is not tried, for it needs what cannot be had: ${error.message}\n`);
    return undefined;
  });
}
