import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { Hono } from 'hono';
import { z } from 'zod';
import { openFolder, pathAfter, segmentsOf } from '../disk.ts';
import { missing, refusal } from '../refusal.ts';
import { routeTable, word } from '../routes.ts';

const files = '/api/2.0/fs/files/';
const directories = '/api/2.0/fs/directories/';

/** The Files API and dbfs/list over one folder that stands for /Volumes. */
export async function volumeRoutes(volumesDir: string): Promise<Hono> {
  const { at, put } = await openFolder(volumesDir, join(volumesDir, '.scratch'), (path) => {
    const [first, ...rest] = segmentsOf(path);
    if (first !== 'Volumes' || rest[0] === '.scratch') throw missing(`No file or directory exists on path ${path}: only /Volumes is part of the local platform.`);
    return rest;
  });
  const app = new Hono();
  app.get(`${files}*`, (c) => at(pathAfter(files, c.req.url), async (file) => {
    const found = await stat(file);
    if (found.isDirectory()) throw missing('The path is a directory, not a file.');
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(found.size), 'last-modified': found.mtime.toUTCString() };
    if (c.req.raw.method === 'HEAD') return c.body(null, 200, headers);
    return c.body(Readable.toWeb(createReadStream(file)) as globalThis.ReadableStream, 200, headers);
  }));
  app.put(`${files}*`, (c) => at(pathAfter(files, c.req.url), async (file) => {
    await mkdir(dirname(file), { recursive: true });
    if (await put(file, (c.req.raw.body as ReadableStream<Uint8Array> | null) ?? Buffer.alloc(0), c.req.query('overwrite') === 'true')) return c.body(null, 204);
    throw refusal(409, 'ALREADY_EXISTS', 'The file being created already exists.');
  }));
  app.delete(`${files}*`, (c) => at(pathAfter(files, c.req.url), (file) => unlink(file)).then(() => c.body(null, 204)));
  app.put(`${directories}*`, (c) => at(pathAfter(directories, c.req.url), (file) => mkdir(file, { recursive: true })).then(() => c.body(null, 204)));
  app.get(`${directories}*`, async (c) => {
    const path = pathAfter(directories, c.req.url);
    return c.json({ contents: await at(path, (folder) => entriesOf(folder, path)) });
  });
  const dbfs = routeTable('/api/2.0/dbfs');
  dbfs.get('/list', z.object({ path: word.transform((path) => path.replace(/^dbfs:/, '')) }), async ({ path }) => {
    const entries = await at(path, (folder) => entriesOf(folder, path));
    return { files: entries.map((entry) => ({ path: entry.path, is_dir: entry.is_directory, file_size: entry.file_size ?? 0, modification_time: entry.last_modified })) };
  });
  return app.route('/', dbfs.app);
}

async function entriesOf(folder: string, path: string) {
  const names = (await readdir(folder)).filter((name) => name !== '.scratch').sort();
  return Promise.all(names.map(async (name) => {
    const found = await stat(join(folder, name));
    return { path: `${path.replace(/\/$/, '')}/${name}`, name, is_directory: found.isDirectory(), file_size: found.isDirectory() ? undefined : found.size, last_modified: Math.trunc(found.mtimeMs) };
  }));
}
