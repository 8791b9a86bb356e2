import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { link, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, missing, refusal } from './refusal.ts';

/** The names in a slash-separated path; 400 for whatever could lead out of the folder it is looked up in. */
export function segmentsOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '');
  const bad = segments.find((segment) => segment === '.' || segment === '..' || segment.includes('\0') || Buffer.byteLength(segment) > 255);
  if (bad !== undefined) throw invalid(`Path (${path}) is not valid: a name in it is '.', '..' or longer than 255 bytes.`);
  return segments;
}

/** A path that was escaped as a whole (`%2F` for its slashes), taken from the raw URL and decoded once; 400 if malformed. */
export function pathAfter(prefix: string, url: string): string {
  try {
    return `/${decodeURIComponent(new URL(url).pathname.slice(prefix.length)).replace(/^\/+/, '')}`;
  } catch {
    throw invalid('The path in the URL is not valid percent-encoding.');
  }
}

/** Puts a finished temporary file in its place: whole or not at all; false if something is there and must stay. */
export async function place(temporary: string, target: string, overwrite: boolean): Promise<boolean> {
  try {
    if (overwrite) await rename(temporary, target);
    else await link(temporary, target);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** What Databricks says where the disk says no; the error itself if it is not about the path. */
export function diskRefusal(error: unknown, path: string): unknown {
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return missing(`Path (${path}) doesn't exist.`);
    case 'EISDIR':
    case 'EEXIST':
      return refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${path}) already exists.`);
    case 'ENOTEMPTY':
      return refusal(400, 'DIRECTORY_NOT_EMPTY', `Folder (${path}) is not empty`);
    case 'ENAMETOOLONG':
      return invalid(`Path (${path}) is too long.`);
    default:
      return error;
  }
}

/** A folder of JSON records, one file each (mode 0600), replaced atomically: kill -9 leaves the old record or the new one. */
export type Records<T> = { all(): T[]; save(name: string, record: T): void; drop(name: string): void };

/** Opens, or creates, a folder of records; what an interrupted write left behind is swept out. */
export function openRecords<T>(folder: string): Records<T> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const names = readdirSync(folder);
  for (const name of names) if (name.endsWith('.new')) rmSync(join(folder, name), { force: true });
  return {
    all: () => readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T),
    save(name, record) {
      // Synchronous: an answer is given only after its effect is on disk, and two saves cannot overtake each other.
      const temporary = join(folder, `${name}.${randomUUID()}.new`);
      writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 });
      renameSync(temporary, join(folder, `${name}.json`));
    },
    drop: (name) => rmSync(join(folder, `${name}.json`), { force: true }),
  };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
