import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { diskRefusal, place, segmentsOf } from '../disk.ts';
import { invalid, missing, refusal } from '../refusal.ts';
import { notebookLanguage } from './notebook.ts';
import type { Language } from './notebook.ts';

export type ObjectInfo = {
  object_type: 'DIRECTORY' | 'NOTEBOOK' | 'FILE';
  /** In the spelling that was asked for: with or without /Workspace. */
  path: string;
  object_id: number;
  resource_id: string;
  language?: Language;
  size?: number;
  created_at: number;
  modified_at: number;
};

export type Tree = {
  status(path: string): Promise<ObjectInfo>;
  list(path: string): Promise<ObjectInfo[]>;
  mkdirs(path: string): Promise<void>;
  read(path: string): Promise<{ info: ObjectInfo; content: Buffer }>;
  /** False if the object exists and `overwrite` is false; 404 without its parent, 400 where it would become another kind of object. */
  write(path: string, content: Buffer, overwrite: boolean): Promise<boolean>;
  remove(path: string, recursive: boolean): Promise<void>;
  /** Where the object is on disk, for the process that runs it. */
  fileOf(path: string): string;
};

/**
 * The workspace's files as a plain folder. Nothing is kept beside them: a notebook is a file whose first line says so,
 * and an id is made of the path, so there is no second record that could disagree after a crash.
 */
export async function openTree(stateDir: string, userName: string): Promise<Tree> {
  const [root, scratch] = [join(stateDir, 'workspace'), join(stateDir, 'scratch')];
  await rm(scratch, { recursive: true, force: true });
  for (const folder of [scratch, root]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const kept = ['/', '/Users', `/Users/${userName}`, '/Shared'];
  for (const path of kept) await mkdir(join(root, path), { recursive: true });

  const fileOf = (path: string) => join(root, ...namesOf(path));
  const asked = <T>(path: string, work: () => Promise<T>) => work().catch((error: unknown) => { throw diskRefusal(error, path); });
  const status = (path: string) => asked(path, () => describe(fileOf(path), path));

  return {
    fileOf,
    status,
    list: (path) => asked(path, async () => {
      const info = await status(path);
      if (info.object_type !== 'DIRECTORY') return [info];
      const names = (await readdir(fileOf(path))).sort();
      const found = await Promise.all(names.map((name) => status(`${path.replace(/\/+$/, '')}/${name}`).catch(() => undefined)));
      return found.filter((child) => child !== undefined);
    }),
    mkdirs: (path) => asked(path, async () => {
      await mkdir(fileOf(path), { recursive: true });
    }),
    read: (path) => asked(path, async () => {
      const info = await status(path);
      if (info.object_type === 'DIRECTORY') throw invalid(`Path (${path}) is a folder: only notebooks and files can be exported here.`);
      return { info, content: await readFile(fileOf(path)) };
    }),
    write: (path, content, overwrite) => asked(path, async () => {
      const target = fileOf(path);
      await stat(join(target, '..')).catch(() => { throw missing(`The parent folder of (${path}) does not exist.`); });
      const found = await describe(target, path).catch(() => undefined);
      if (found && !overwrite) return false;
      const kind = notebookLanguage(content) ? 'NOTEBOOK' : 'FILE';
      if (found && found.object_type !== kind) {
        throw refusal(400, 'INVALID_PARAMETER_VALUE', `Cannot overwrite (${path}): it is a ${found.object_type}, the content is a ${kind}.`);
      }
      const temporary = join(scratch, randomUUID());
      await writeFile(temporary, content, { mode: 0o600 });
      return place(temporary, target, overwrite);
    }),
    remove: (path, recursive) => asked(path, async () => {
      const target = fileOf(path);
      if (kept.includes(`/${namesOf(path).join('/')}`)) throw invalid(`Folder (${path}) cannot be deleted.`);
      if ((await status(path)).object_type !== 'DIRECTORY') return unlink(target);
      if (!recursive) return rmdir(target);
      // Out of sight in one step, whatever its size; the next start sweeps what a crash leaves there.
      const gone = join(scratch, randomUUID());
      await rename(target, gone);
      await rm(gone, { recursive: true, force: true });
    }),
  };
}

function namesOf(path: string): string[] {
  const names = segmentsOf(path);
  return names[0] === 'Workspace' ? names.slice(1) : names;
}

async function describe(file: string, path: string): Promise<ObjectInfo> {
  const found = await stat(file);
  const canonical = `/${namesOf(path).join('/')}`;
  const id = createHash('sha256').update(canonical).digest().readUIntBE(0, 6);
  const common = { path: `/${segmentsOf(path).join('/')}`, object_id: id, resource_id: String(id) };
  const times = { created_at: Math.trunc(found.birthtimeMs), modified_at: Math.trunc(found.mtimeMs) };
  if (found.isDirectory()) return { object_type: 'DIRECTORY', ...common, ...times };
  const language = notebookLanguage(await firstBytes(file));
  if (language) return { object_type: 'NOTEBOOK', ...common, language, ...times };
  return { object_type: 'FILE', ...common, size: found.size, ...times };
}

async function firstBytes(file: string): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** `py` of a notebook or the extension of a file, as export answers in `file_type`. */
export function fileExtension(path: string): string {
  const name = basename(path);
  return name.includes('.') ? name.slice(name.lastIndexOf('.') + 1) : '';
}
