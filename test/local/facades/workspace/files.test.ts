import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { home, openWorkspace } from './fixture.ts';

const header = '# Databricks notebook source\n';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const status = (path: string) => `/api/2.0/workspace/get-status?path=${encodeURIComponent(path)}`;

describe('workspace files', () => {
  it('takes a JSON import, adds the title line of a notebook, and gives it back both ways', async () => {
    const { post, get, download } = await openWorkspace();
    expect(await post('/api/2.0/workspace/import', { path: `${home}/nb2.py`, format: 'SOURCE', language: 'PYTHON', content: base64('print(1)') })).toEqual({});
    expect(await get(status(`${home}/nb2.py`))).toMatchObject({ object_type: 'NOTEBOOK', language: 'PYTHON', path: `${home}/nb2.py` });
    expect(await get(`/api/2.0/workspace/export?path=${home}/nb2.py&format=SOURCE`)).toEqual({ content: base64(`${header}print(1)`), file_type: 'py' });
    expect((await download(`${home}/nb2.py`)).toString()).toBe(`${header}print(1)`);
    expect(await post('/api/2.0/workspace/import', { path: `${home}/nb2.py`, language: 'SQL', content: '' })).toMatchObject({ status: 400, error_code: 'RESOURCE_ALREADY_EXISTS' });
  });

  it('takes a multipart upload', async () => {
    const { fetch, download } = await openWorkspace();
    const bytes = randomBytes(3000);
    const upload = (overwrite: string) => {
      const form = new FormData();
      for (const [name, value] of [['path', `${home}/ü %41.bin`], ['format', 'AUTO'], ['overwrite', overwrite]] as const) form.append(name, value);
      form.append('content', new Blob([bytes]), 'content');
      return fetch('POST', '/api/2.0/workspace/import', { body: form });
    };
    expect((await upload('false')).status).toBe(200);
    expect((await download(`${home}/ü %41.bin`)).equals(bytes)).toBe(true);
    expect(await (await upload('false')).json()).toMatchObject({ error_code: 'RESOURCE_ALREADY_EXISTS' });
    expect((await upload('true')).status).toBe(200);
  });

  it('takes the CLI way: raw bytes under an escaped path that is decoded once', async () => {
    const { importFile, download, names, post } = await openWorkspace();
    for (const name of ['plain.txt', 'with space', '100%25', 'ü#?&.json', 'a+b', 'empty']) {
      const bytes = name === 'empty' ? Buffer.alloc(0) : randomBytes(100);
      expect((await importFile(`/Workspace${home}/${name}`, new Uint8Array(bytes))).status).toBe(200);
      expect((await download(`${home}/${name}`)).equals(bytes)).toBe(true);
    }
    expect(await names(home)).toHaveLength(6);
    expect((await importFile(`/Workspace${home}/none/x`, 'y')).status).toBe(404);
    await post('/api/2.0/workspace/mkdirs', { path: `${home}/none` });
    expect((await importFile(`/Workspace${home}/none/x`, 'y')).status).toBe(200);
  });

  it('tells notebooks from files by their first line, and strips their extension', async () => {
    const { importFile, names, download } = await openWorkspace();
    await importFile(`${home}/a.py`, `${header}x = 1\n`);
    await importFile(`${home}/b.py`, 'x = 1\n');
    await importFile(`${home}/c.sql`, '-- Databricks notebook source\r\nSELECT 1');
    const cells = [{ cell_type: 'markdown', source: ['# Title\n', 'text'] }, { cell_type: 'code', source: 'x = 1\ny = 2' }, { cell_type: 'code', source: ['%sql\n', 'SELECT 1'] }];
    await importFile(`${home}/d.ipynb`, JSON.stringify({ cells, nbformat: 4 }));
    expect(await names(`/Workspace${home}`)).toEqual(['NOTEBOOK a', 'FILE b.py', 'NOTEBOOK c', 'NOTEBOOK d'].map((line) => line.replace(' ', ` /Workspace${home}/`)));
    expect((await download(`${home}/d`)).toString()).toBe(
      `${header}# MAGIC %md\n# MAGIC # Title\n# MAGIC text\n\n# COMMAND ----------\n\nx = 1\ny = 2\n\n# COMMAND ----------\n\n# MAGIC %sql\n# MAGIC SELECT 1\n`,
    );
    expect((await importFile(`${home}/e.ipynb`, 'no json')).status).toBe(400);
  });

  it('says 409 for an existing file and 400 "already exists." for an existing notebook', async () => {
    const { importFile } = await openWorkspace();
    await importFile(`${home}/lock`, 'one');
    await importFile(`${home}/nb.py`, header);
    expect((await importFile(`${home}/lock`, 'two')).status).toBe(409);
    const notebook = await importFile(`${home}/nb.py`, header);
    expect([notebook.status, (await notebook.json() as any).message]).toEqual([400, `Path (${home}/nb) already exists.`]);
    expect((await importFile(`${home}/nb`, 'a file', true)).status).toBe(400);
  });

  it('knows one object by both spellings', async () => {
    const { importFile, get } = await openWorkspace();
    await importFile(`${home}/x`, '12345');
    const [one, two] = [await get(status(`${home}/x`)), await get(status(`/Workspace${home}/x`))];
    expect(two).toEqual({ ...one, path: `/Workspace${home}/x` });
    expect(one).toMatchObject({ object_type: 'FILE', size: 5, path: `${home}/x` });
    expect(Number.isSafeInteger(one.object_id)).toBe(true);
  });

  it('lets exactly one of many simultaneous creations win, and creates folders from all sides', async () => {
    const { importFile, post, names } = await openWorkspace();
    const deep = `${home}/a/b/c`;
    expect(await Promise.all(Array.from({ length: 30 }, () => post('/api/2.0/workspace/mkdirs', { path: deep })))).toEqual(Array.from({ length: 30 }, () => ({})));
    const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => importFile(`${deep}/lock`, `${n}`)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(29).fill(409)]);
    await Promise.all(Array.from({ length: 60 }, (_, n) => importFile(`${deep}/f${n}`, 'x', true)));
    expect(await names(deep)).toHaveLength(61);
  });

  it('deletes files, empty folders, and whole trees when asked to', async () => {
    const { importFile, post, names, get } = await openWorkspace();
    await post('/api/2.0/workspace/mkdirs', { path: `${home}/d/e` });
    await importFile(`${home}/d/e/f`, 'x');
    const remove = (path: string, recursive = false) => post('/api/2.0/workspace/delete', { path, recursive });
    expect(await remove(`${home}/d`)).toMatchObject({ status: 400, error_code: 'DIRECTORY_NOT_EMPTY' });
    expect(await remove(`/Workspace${home}/d/e/f`)).toEqual({});
    expect(await remove(`${home}/d/e`)).toEqual({});
    await importFile(`${home}/d/g`, 'x');
    expect(await remove(`${home}/d`, true)).toEqual({});
    expect(await names(home)).toEqual([]);
    expect(await remove(`${home}/d`, true)).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
    expect(await remove('/', true)).toMatchObject({ status: 400 });
    expect(await remove(`/Workspace${home}/`, true)).toMatchObject({ status: 400 });
    expect(await get(status(`${home}/d`))).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
    expect(await get(`/api/2.0/workspace/list?path=${home}/d`)).toMatchObject({ status: 404 });
  });

  it.each(['../../../etc/passwd', `${home}/../../../../etc/passwd`, '/Workspace/../../x', `${home}/.`, `${home}/a\0b`, `${home}/${'x'.repeat(300)}`])('refuses the path %j everywhere', async (path) => {
    const { get, post, importFile, fetch } = await openWorkspace();
    const content = base64('x');
    for (const answer of [
      await get(status(path)), await get(`/api/2.0/workspace/export?path=${encodeURIComponent(path)}`), await post('/api/2.0/workspace/mkdirs', { path }),
      await post('/api/2.0/workspace/delete', { path, recursive: true }), await post('/api/2.0/workspace/import', { path, content, format: 'AUTO' }), await importFile(`/${path}`, 'x'),
      await fetch('PUT', `/api/2.0/fs/files/Volumes/${encodeURIComponent(path)}`, { body: 'x' }), await get(`/api/2.0/dbfs/list?path=/Volumes/${encodeURIComponent(path)}`),
    ]) expect(answer.status).toBe(400);
  });

  it('leaves no half-written file behind', async () => {
    const first = await openWorkspace();
    await first.importFile(`${home}/x`, 'kept');
    // What kill -9 in the middle of an upload, or of a save, leaves on disk.
    writeFileSync(join(first.stateDir, 'scratch', 'half'), 'x');
    mkdirSync(join(first.stateDir, 'jobs'), { recursive: true });
    writeFileSync(join(first.stateDir, 'jobs', '5.json.abc.new'), '{"job_id":5,"sett');
    const again = await openWorkspace(first.stateDir);
    expect(await again.names(home)).toEqual([`FILE ${home}/x`]);
    expect(readdirSync(join(first.stateDir, 'scratch'))).toEqual([]);
    expect(await again.get('/api/2.2/jobs/list')).toEqual({ jobs: [], has_more: false });
  });

  it('refuses a body that is too large, and one that is no JSON', async () => {
    const { fetch } = await openWorkspace();
    const big = await fetch('POST', '/api/2.2/jobs/create', { body: new Uint8Array(11 * 2 ** 20) });
    expect([big.status, (await big.json() as any).error_code]).toEqual([413, 'REQUEST_LIMIT_EXCEEDED']);
    for (const body of ['{', '[]', '"x"', 'null', '\0']) {
      expect((await fetch('POST', '/api/2.0/workspace/mkdirs', { body })).status).toBe(400);
    }
  });
});

describe('volumes', () => {
  it('puts, gets, lists and deletes files', async () => {
    const { fetch, get } = await openWorkspace();
    const file = '/api/2.0/fs/files/Volumes/main/s/v/d%20ir/f.bin';
    const bytes = new Uint8Array(randomBytes(100_000));
    expect((await fetch('PUT', file, { body: bytes })).status).toBe(204);
    expect((await fetch('PUT', file, { body: 'other' })).status).toBe(409);
    expect(new Uint8Array(await (await fetch('GET', file)).arrayBuffer())).toEqual(bytes);
    const head = await fetch('HEAD', file);
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '100000']);
    const path = '/Volumes/main/s/v/d ir/f.bin';
    expect((await get('/api/2.0/fs/directories/Volumes/main/s/v/d%20ir')).contents).toMatchObject([{ path, name: 'f.bin', is_directory: false, file_size: 100_000 }]);
    expect((await get('/api/2.0/dbfs/list?path=dbfs:/Volumes/main/s/v/')).files).toMatchObject([{ path: '/Volumes/main/s/v/d ir', is_dir: true, file_size: 0 }]);
    expect((await fetch('DELETE', file)).status).toBe(204);
    expect((await fetch('HEAD', file)).status).toBe(404);
    expect((await fetch('HEAD', '/api/2.0/fs/directories/Volumes/main/s/v/d%20ir')).status).toBe(200);
    expect((await fetch('HEAD', '/api/2.0/fs/directories/Volumes/main/s/v/none')).status).toBe(404);
    expect(await get('/api/2.0/dbfs/list?path=/tmp')).toMatchObject({ status: 404 });
  });
});
