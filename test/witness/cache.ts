import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the engines are, and what tests bring beside them. */
export const cache = process.env.STREAMGAUGE_CACHE ?? join(homedir(), '.cache', 'streamgauge');

/** A file or folder in the engines' cache, which the first call on a machine makes, whole or not at all: `make` fills a folder and returns what of it is meant. */
export async function cached(name: string, make: (folder: string) => Promise<string>): Promise<string> {
  const wanted = join(cache, name);
  if (existsSync(wanted)) return wanted;
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'witness-'));
  try {
    await rename(await make(folder), wanted);
    return wanted;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What was brought; undefined where it cannot be had, and said so: `what` is not tried then. */
export async function ifReachable<T>(what: string, bringing: Promise<T>): Promise<T | undefined> {
  return bringing.catch((error: Error) => {
    process.stderr.write(`${what} is not tried, for it needs what cannot be had: ${error.message}\n`);
    return undefined;
  });
}
