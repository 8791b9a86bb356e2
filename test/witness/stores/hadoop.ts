import { copyFileSync, globSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Runtime } from '../../../src/local/contract.ts';
import { freePort } from '../../local/ports.ts';
import { ifReachable } from '../cache.ts';
import { abfss } from './abfss.ts';
import { gs } from './gs.ts';
import { s3a } from './s3a.ts';
import type { Store } from './store.ts';

export const stores: Store[] = [s3a, gs, abfss];

/** The version of Spark's own Hadoop. */
export function hadoopVersion({ sparkHome }: Pick<Runtime, 'sparkHome'>): string {
  const [version] = globSync('hadoop-client-api-*.jar', { cwd: join(sparkHome, 'jars') }).map((name) => name.slice('hadoop-client-api-'.length, -'.jar'.length));
  if (version === undefined) throw new Error(`${sparkHome} has no client of Hadoop's`);
  return version;
}

/** What Spark must have to reach the stores, each on a port of its own once somebody starts it: a folder of their clients' jars, and core-site.xml with their settings. */
export async function hadoopFolder(runtime: Promise<Pick<Runtime, 'sparkHome'>>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-hadoop-'));
  const version = runtime.then(hadoopVersion);
  const had = await Promise.all(stores.map(async ({ scheme, client }) => ifReachable(`${scheme}:`, client(version, await freePort()))));
  await version;
  for (const jar of had.flatMap((client) => client?.jars ?? [])) copyFileSync(jar, join(folder, basename(jar)));
  const settings = had.flatMap((client) => Object.entries(client?.settings ?? {}));
  const properties = settings.map(([name, value]) => `<property><name>${name}</name><value>${value}</value></property>\n`);
  writeFileSync(join(folder, 'core-site.xml'), `<configuration>\n${properties.join('')}</configuration>\n`, { mode: 0o600 });
  return folder;
}

/** The settings that are written there; a store whose endpoint is not among them cannot be had. */
export function settingsOf(folder: string | undefined): Record<string, string> {
  if (folder === undefined) return {};
  const text = readFileSync(join(folder, 'core-site.xml'), 'utf8');
  return Object.fromEntries([...text.matchAll(/<name>([^<]*)<\/name><value>([^<]*)/g)].map(([, name, value]) => [name, value]));
}
