import { Hono } from 'hono';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { pathAfter } from '../disk.ts';
import { invalid, jsonBody, refusal, text } from '../refusal.ts';
import { extensionOf, fromJupyter, languageOf, notebookLanguage, withTitleLine } from './notebook.ts';
import { fileExtension } from './tree.ts';
import type { Tree } from './tree.ts';

type Upload = { path: string; content: Buffer; overwrite: boolean };

const importFile = '/api/2.0/workspace-files/import-file/';
const uploadBytes = 200 * 2 ** 20;

/** The workspace API's files and notebooks: three ways in, two ways out. */
export function fileRoutes(tree: Tree): Hono {
  const app = new Hono();
  app.get('/api/2.0/workspace/get-status', async (c) => c.json(await tree.status(text(c.req.query(), 'path'))));
  app.get('/api/2.0/workspace/list', async (c) => c.json({ objects: await tree.list(text(c.req.query(), 'path')) }));
  app.post('/api/2.0/workspace/mkdirs', async (c) => {
    await tree.mkdirs(text(await jsonBody(c), 'path'));
    return c.json({});
  });
  app.post('/api/2.0/workspace/delete', async (c) => {
    const body = await jsonBody(c);
    await tree.remove(text(body, 'path'), body.recursive === true);
    return c.json({});
  });
  app.post('/api/2.0/workspace/import', limit(uploadBytes), async (c) => {
    const fields = await importFields(c);
    const upload = asObject(fields, fields.format);
    if (!(await tree.write(upload.path, upload.content, upload.overwrite))) {
      throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${upload.path}) already exists.`);
    }
    return c.json({});
  });
  app.post(`${importFile}*`, limit(uploadBytes), async (c) => {
    const content = Buffer.from(await c.req.arrayBuffer());
    const given = { path: pathAfter(importFile, c.req.url), content, overwrite: c.req.query('overwrite') === 'true', language: undefined };
    const upload = asObject(given, 'AUTO');
    if (await tree.write(upload.path, upload.content, upload.overwrite)) return c.json({});
    // The CLI tells a file (409) from a notebook (400, by this sentence).
    if (notebookLanguage(upload.content)) throw refusal(400, 'RESOURCE_ALREADY_EXISTS', `Path (${upload.path}) already exists.`);
    throw refusal(409, 'RESOURCE_ALREADY_EXISTS', `Node with name ${upload.path} already exists. Please pass overwrite=true to update it.`);
  });
  app.get('/api/2.0/workspace/export', async (c) => {
    const { info, content } = await tree.read(text(c.req.query(), 'path'));
    const format = c.req.query('format') ?? 'SOURCE';
    if (!['SOURCE', 'AUTO', 'RAW'].includes(format)) throw invalid(`format=${format} is not part of the local platform: use SOURCE or AUTO.`);
    if (c.req.query('direct_download') === 'true') return c.body(new Uint8Array(content), 200, { 'content-type': 'application/octet-stream' });
    return c.json({ content: content.toString('base64'), file_type: info.language ? extensionOf(info.language) : fileExtension(info.path) });
  });
  return app;
}

/** Middleware that answers 413 to a body of more than `maxSize` bytes. */
export function limit(maxSize: number) {
  return bodyLimit({
    maxSize,
    onError: () => {
      throw refusal(413, 'REQUEST_LIMIT_EXCEEDED', `The request body is larger than ${maxSize} bytes.`);
    },
  });
}

type ImportFields = Upload & { format: string; language: unknown };

async function importFields(c: Context): Promise<ImportFields> {
  if (c.req.header('content-type')?.startsWith('multipart/form-data')) {
    const form = await c.req.parseBody().catch(() => { throw refusal(400, 'MALFORMED_REQUEST', 'the multipart body cannot be read'); });
    const { content } = form;
    const bytes = content instanceof File ? Buffer.from(await content.arrayBuffer()) : Buffer.from(typeof content === 'string' ? content : '');
    return { path: text(form, 'path'), content: bytes, overwrite: form.overwrite === 'true', format: String(form.format ?? 'SOURCE'), language: form.language };
  }
  const body = await jsonBody(c);
  const content = Buffer.from(typeof body.content === 'string' ? body.content : '', 'base64');
  return { path: text(body, 'path'), content, overwrite: body.overwrite === true, format: String(body.format ?? 'SOURCE'), language: body.language };
}

/** What the bytes become: AUTO decides by extension and first line, and a notebook loses its extension. */
function asObject(given: Upload & { language: unknown }, format: string): Upload {
  const withoutExtension = given.path.replace(/\.(py|sql|scala|r|ipynb)$/i, '');
  const jupyter = given.path.toLowerCase().endsWith('.ipynb');
  switch (format) {
    case 'AUTO':
      if (jupyter) return { ...given, path: withoutExtension, content: fromJupyter(given.content) };
      return notebookLanguage(given.content) ? { ...given, path: withoutExtension } : given;
    case 'SOURCE':
      return { ...given, content: withTitleLine(given.content, languageOf(given.language)) };
    case 'JUPYTER':
      return { ...given, content: fromJupyter(given.content) };
    case 'RAW':
      return given;
    default:
      throw invalid(`format=${format} is not part of the local platform: use SOURCE, AUTO, RAW or JUPYTER.`);
  }
}
