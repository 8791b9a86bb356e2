import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { Hono } from 'hono';
import { diskRefusal, pathAfter, place, segmentsOf } from '../disk.ts';
import { missing, refusal, text } from '../refusal.ts';

const files = '/api/2.0/fs/files/';
const directories = '/api/2.0/fs/directories/';

/** The Files API and dbfs/list over one folder that stands for /Volumes. */
export async function volumeRoutes(volumesDir: string): Promise<Hono> {
  const scratch = join(volumesDir, '.scratch');
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const onDisk = (path: string) => {
    const [first, ...rest] = segmentsOf(path);
    if (first !== 'Volumes' || rest[0] === '.scratch') throw missing(`No file or directory exists on path ${path}: only /Volumes is part of the local platform.`);
    return join(volumesDir, ...rest);
  };
  const at = async <T>(path: string, work: (file: string) => Promise<T>): Promise<T> =>
    work(onDisk(path)).catch((error: unknown) => { throw diskRefusal(error, path); });

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
    const temporary = join(scratch, randomUUID());
    const body = c.req.raw.body ? Readable.fromWeb(c.req.raw.body as ReadableStream) : Readable.from([]);
    await pipeline(body, createWriteStream(temporary, { mode: 0o600 }));
    if (await place(temporary, file, c.req.query('overwrite') === 'true')) return c.body(null, 204);
    throw refusal(409, 'ALREADY_EXISTS', 'The file being created already exists.');
  }));
  app.delete(`${files}*`, (c) => at(pathAfter(files, c.req.url), async (file) => {
    await unlink(file);
    return c.body(null, 204);
  }));
  app.get(`${directories}*`, (c) => {
    const path = pathAfter(directories, c.req.url);
    return at(path, async (file) => c.json({ contents: (await entriesOf(file)).map((e) => ({ ...e, path: `${path.replace(/\/$/, '')}/${e.name}` })) }));
  });
  app.put(`${directories}*`, (c) => at(pathAfter(directories, c.req.url), async (file) => {
    await mkdir(file, { recursive: true });
    return c.body(null, 204);
  }));
  app.delete(`${directories}*`, (c) => at(pathAfter(directories, c.req.url), async (file) => {
    await rmdir(file);
    return c.body(null, 204);
  }));
  app.get('/api/2.0/dbfs/list', (c) => {
    const path = text(c.req.query(), 'path').replace(/^dbfs:/, '').replace(/\/$/, '');
    return at(path, async (file) => c.json({
      files: (await entriesOf(file)).map((e) => ({ path: `${path}/${e.name}`, is_dir: e.is_directory, file_size: e.file_size ?? 0, modification_time: e.last_modified })),
    }));
  });
  return app;
}

async function entriesOf(folder: string) {
  const names = (await readdir(folder)).filter((name) => name !== '.scratch').sort();
  return Promise.all(names.map(async (name) => {
    const found = await stat(join(folder, name));
    const size = found.isDirectory() ? {} : { file_size: found.size };
    return { name, is_directory: found.isDirectory(), ...size, last_modified: Math.trunc(found.mtimeMs) };
  }));
}
