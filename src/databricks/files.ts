import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, posix, sep } from 'node:path';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';

/** A file of the bundle that goes to the workspace. */
export type BundleFile = Readonly<{
  /** Relative to the bundle's root, with slashes: what is imported; the workspace takes a notebook's extension off. */
  path: string;
  /** Relative path of the object that results: without extension for a notebook. */
  object: string;
  type: 'NOTEBOOK' | 'FILE';
  sha256: string;
  content: Buffer;
}>;

/** What the Databricks CLI leaves out as well, or no bundle wants: version control, its own folder, Python's caches. */
const LEFT_OUT = new Set(['.git', '.databricks', '.streamgauge', '__pycache__', 'node_modules', '.venv', '.DS_Store']);

/** Every file of `sync.paths`, sorted by path, with its hash; a path that is not there is a usage Failure. */
export async function bundleFiles(config: Pick<Config, 'root' | 'syncPaths'>): Promise<BundleFile[]> {
  const paths = (await Promise.all(config.syncPaths.map((path) => filesBelow(config.root, path)))).flat();
  const unique = [...new Set(paths)].sort();
  const files = await Promise.all(unique.map(async (path) => describe(path, await readFile(join(config.root, path)))));
  const objects = new Map<string, string>();
  for (const file of files) {
    const other = objects.get(file.object);
    if (other !== undefined) throw new Failure({ code: 'NOTEBOOK_NAME_TAKEN', kind: 'usage', message: `${other} and ${file.path} would be the same object of the workspace, ${file.object}`, hint: 'Rename one of them.' });
    objects.set(file.object, file.path);
  }
  return files;
}

async function filesBelow(root: string, path: string): Promise<string[]> {
  const relative = posix.normalize(path.split(sep).join('/')).replace(/\/$/, '');
  const found = await stat(join(root, relative)).catch((error: unknown) => Promise.reject(missing(relative, error)));
  if (found.isFile()) return [relative];
  const entries = await readdir(join(root, relative), { withFileTypes: true });
  const wanted = entries.filter((entry) => !LEFT_OUT.has(entry.name) && (entry.isFile() || entry.isDirectory()));
  const nested = await Promise.all(wanted.map((entry) => (entry.isFile() ? [posix.join(relative, entry.name)] : filesBelow(root, posix.join(relative, entry.name)))));
  return nested.flat();
}

/** A file as the workspace will understand it: its first line (or `.ipynb`) makes it a notebook. */
export function describe(path: string, content: Buffer): BundleFile {
  const extension = posix.extname(path).toLowerCase();
  const firstLine = content.subarray(0, 200).toString('utf8').split(/\r?\n/)[0] ?? '';
  const marks: Record<string, string> = { '.py': '# ', '.sql': '-- ', '.scala': '// ', '.r': '# ' };
  const mark = marks[extension];
  const notebook = extension === '.ipynb' || (mark !== undefined && firstLine.trimEnd() === `${mark}Databricks notebook source`);
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { path, object: notebook ? path.slice(0, -extension.length) : path, type: notebook ? 'NOTEBOOK' : 'FILE', sha256, content };
}

function missing(path: string, cause: unknown): Failure {
  return new Failure({ code: 'SYNC_PATH_MISSING', kind: 'usage', message: `sync.paths names ${path}, which does not exist`, hint: path.endsWith('streamgauge.mjs') ? 'Build it: `npm run build`.' : 'Correct sync.paths in databricks.yml.', cause });
}
