import { randomUUID } from 'node:crypto';
import { link, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, missing, refusal } from './refusal.ts';

/** A folder on disk that clients see under paths of their own. */
export type Folder = {
  fileOf(path: string): string;
  /** What `work` makes of the path's place on disk; what the disk refuses, as Databricks says it. */
  at<T>(path: string, work: (file: string) => Promise<T>): Promise<T>;
  /** Writes a file whole or not at all; false if something is there and must stay. */
  put(file: string, content: Buffer | AsyncIterable<Uint8Array>, overwrite: boolean): Promise<boolean>;
  /** Takes a whole tree away in one step, whatever its size. */
  sweep(file: string): Promise<void>;
};

/** Opens, or creates, a folder; `scratch` holds what is being written, and is swept of what a crash left there. */
export async function openFolder(root: string, scratch: string, namesOf: (path: string) => string[]): Promise<Folder> {
  await rm(scratch, { recursive: true, force: true });
  for (const folder of [root, scratch]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const fileOf = (path: string) => join(root, ...namesOf(path));
  return {
    fileOf,
    at: async (path, work) => work(fileOf(path)).catch((error: unknown) => { throw diskRefusal(error, path); }),
    async put(file, content, overwrite) {
      const temporary = join(scratch, randomUUID());
      try {
        await writeFile(temporary, content, { mode: 0o600 });
        await (overwrite ? rename : link)(temporary, file);
        return true;
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return false;
        throw error;
      } finally {
        await rm(temporary, { force: true });
      }
    },
    async sweep(file) {
      const gone = join(scratch, randomUUID());
      await rename(file, gone);
      await rm(gone, { recursive: true, force: true });
    },
  };
}

/** The names in a slash-separated path; 400 for whatever could lead out of the folder it is looked up in. */
export function segmentsOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '');
  if (!segments.some((segment) => segment === '.' || segment === '..' || segment.includes('\0') || Buffer.byteLength(segment) > 255)) return segments;
  throw invalid(`Path (${path}) is not valid: a name in it is '.', '..' or longer than 255 bytes.`);
}

/** A path that was escaped as a whole (`%2F` for its slashes), taken from the raw URL and decoded once; 400 if malformed. */
export function pathAfter(prefix: string, url: string): string {
  try {
    return `/${decodeURIComponent(new URL(url).pathname.slice(prefix.length)).replace(/^\/+/, '')}`;
  } catch {
    throw invalid('The path in the URL is not valid percent-encoding.');
  }
}

function diskRefusal(error: unknown, path: string): unknown {
  const refusals: Record<string, () => unknown> = {
    ENOENT: () => missing(`Path (${path}) doesn't exist.`),
    ENOTDIR: () => missing(`Path (${path}) doesn't exist.`),
    EISDIR: () => refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${path}) already exists.`),
    EEXIST: () => refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${path}) already exists.`),
    ENOTEMPTY: () => refusal(400, 'DIRECTORY_NOT_EMPTY', `Folder (${path}) is not empty`),
    ENAMETOOLONG: () => invalid(`Path (${path}) is too long.`),
  };
  return refusals[codeOf(error)]?.() ?? error;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
