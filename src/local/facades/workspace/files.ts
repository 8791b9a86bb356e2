import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Hono } from 'hono';
import type { Context } from 'hono';
import { z } from 'zod';
import { openFolder, pathAfter, segmentsOf } from '../disk.ts';
import { invalid, jsonObject, missing, refusal } from '../refusal.ts';
import { flag, parsed, routeTable, word } from '../routes.ts';
import { fileType, fromJupyter, language, notebookLanguage, withTitleLine } from './notebook.ts';

const onPath = z.object({ path: word });
const upload = z.object({
  path: word,
  content: z.union([z.instanceof(Buffer), z.string().transform((given) => Buffer.from(given, 'base64'))]).default(Buffer.alloc(0)),
  overwrite: flag,
  format: z.enum(['SOURCE', 'AUTO', 'RAW', 'JUPYTER']).default('SOURCE'),
  language: language.optional(),
});
type Upload = z.infer<typeof upload>;

const importFile = '/api/2.0/workspace-files/import-file/';

/** A path's names; the workspace has two spellings of one object, with and without /Workspace. */
function namesOf(path: string): string[] {
  const names = segmentsOf(path);
  return names[0] === 'Workspace' ? names.slice(1) : names;
}

/**
 * The workspace API's files and notebooks over a plain folder. Nothing is kept beside them: a notebook is a file whose first line
 * says so, and an id is made of the path, so there is no second record that could disagree after a crash.
 */
export async function openFiles(stateDir: string, userName: string): Promise<{ app: Hono; fileOf(path: string): string }> {
  const { at, fileOf, put, sweep } = await openFolder(join(stateDir, 'workspace'), join(stateDir, 'scratch'), namesOf);
  const kept = ['/', '/Users', `/Users/${userName}`, '/Shared'];
  for (const path of kept) await mkdir(fileOf(path), { recursive: true });

  /** False if the object exists and `overwrite` is false; 404 without its parent, 400 where it would become another kind of object. */
  const write = ({ path, content, overwrite }: Upload) => at(path, async (file) => {
    await stat(dirname(file)).catch(() => { throw missing(`The parent folder of (${path}) does not exist.`); });
    const found = await describe(file, path).catch(() => undefined);
    if (found && !overwrite) return false;
    const kind = notebookLanguage(content) ? 'NOTEBOOK' : 'FILE';
    if (found && found.object_type !== kind) throw invalid(`Cannot overwrite (${path}): it is a ${found.object_type}, the content is a ${kind}.`);
    return put(file, content, overwrite);
  });

  const { app, get, post } = routeTable('/api/2.0/workspace');
  get('/get-status', onPath, ({ path }) => at(path, (file) => describe(file, path)));
  get('/list', onPath, async ({ path }) => ({
    objects: await at(path, async (file) => {
      const info = await describe(file, path);
      if (info.object_type !== 'DIRECTORY') return [info];
      const names = (await readdir(file)).sort();
      return (await Promise.all(names.map((name) => describe(join(file, name), `${path}/${name}`).catch(() => [])))).flat();
    }),
  }));
  post('/mkdirs', onPath, async ({ path }) => void (await at(path, (file) => mkdir(file, { recursive: true }))));
  post('/delete', onPath.extend({ recursive: flag }), ({ path, recursive }) => {
    if (kept.some((folder) => fileOf(folder) === fileOf(path))) throw invalid(`Folder (${path}) cannot be deleted.`);
    return at(path, async (file) => {
      if (!(await stat(file)).isDirectory()) return unlink(file);
      return recursive ? sweep(file) : rmdir(file);
    });
  });
  get('/export', onPath.extend({ format: z.enum(['SOURCE', 'AUTO', 'RAW']).optional(), direct_download: flag }), async ({ path, direct_download: direct }, c) => {
    const { info, content } = await at(path, async (file) => ({ info: await describe(file, path), content: (await stat(file)).isFile() ? await readFile(file) : undefined }));
    if (content === undefined) throw invalid(`Path (${path}) is a folder: only notebooks and files can be exported here.`);
    return direct ? c.body(new Uint8Array(content), 200, { 'content-type': 'application/octet-stream' }) : { content: content.toString('base64'), file_type: fileType(info) };
  });
  app.post('/import', async (c) => {
    const object = asObject(await uploadOf(c));
    if (!(await write(object))) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${object.path}) already exists.`);
    return c.json({});
  });
  const whole = new Hono().post(`${importFile}*`, async (c) => {
    const object = asObject({ path: pathAfter(importFile, c.req.url), content: Buffer.from(await c.req.arrayBuffer()), overwrite: c.req.query('overwrite') === 'true', format: 'AUTO' });
    if (await write(object)) return c.json({});
    // The CLI tells a file (409) from a notebook (400, by this sentence).
    if (notebookLanguage(object.content)) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${object.path}) already exists.`);
    throw refusal(409, 'RESOURCE_ALREADY_EXISTS', `Node with name ${object.path} already exists. Please pass overwrite=true to update it.`);
  });
  return { app: whole.route('/', app), fileOf };
}

async function uploadOf(c: Context): Promise<Upload> {
  if (!c.req.header('content-type')?.startsWith('multipart/form-data')) return parsed(upload, jsonObject(await c.req.text()));
  const form = await c.req.parseBody().catch(() => { throw refusal(400, 'MALFORMED_REQUEST', 'the multipart body cannot be read'); });
  const content = form.content instanceof File ? Buffer.from(await form.content.arrayBuffer()) : Buffer.from(String(form.content ?? ''));
  return parsed(upload, { ...form, content });
}

/** What the bytes become: AUTO decides by extension and first line, and a notebook loses its extension. */
function asObject(given: Upload): Upload {
  const jupyter = given.format === 'JUPYTER' || (given.format === 'AUTO' && given.path.toLowerCase().endsWith('.ipynb'));
  const content = jupyter ? fromJupyter(given.content) : given.format === 'SOURCE' ? withTitleLine(given.content, parsed(language, given.language)) : given.content;
  const path = given.format === 'AUTO' && notebookLanguage(content) ? given.path.replace(/\.(py|sql|scala|r|ipynb)$/i, '') : given.path;
  return { ...given, path, content };
}

/** An object as get-status and list answer it, in the spelling that was asked for. */
async function describe(file: string, path: string) {
  const found = await stat(file);
  const id = createHash('sha256').update(`/${namesOf(path).join('/')}`).digest().readUIntBE(0, 6);
  const common = { path: `/${segmentsOf(path).join('/')}`, object_id: id, resource_id: String(id), created_at: Math.trunc(found.birthtimeMs), modified_at: Math.trunc(found.mtimeMs) };
  if (found.isDirectory()) return { object_type: 'DIRECTORY' as const, ...common };
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
  const language = notebookLanguage(buffer.subarray(0, bytesRead));
  return language ? { object_type: 'NOTEBOOK' as const, ...common, language } : { object_type: 'FILE' as const, ...common, size: found.size };
}
