import { connect, type Socket } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openAuthority } from '../../../src/local/authority.ts';
import { serveHttps, type Host } from '../../../src/local/facades/https.ts';
import { findPrerequisites } from '../../../src/local/runtime/prerequisites.ts';
import { occupiedPort } from '../ports.ts';

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-https-'));
let host: Host;
let port = 0;
let ca: Buffer;

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

beforeAll(async () => {
  const authority = await openAuthority({ folder, java: (await findPrerequisites({ maven: false })).java });
  ca = readFileSync(authority.caFile);
  const first = new Hono().post('/echo', async (c) => c.text(await c.req.text()));
  const second = new Hono().get('/second', (c) => c.text('second'));
  second.notFound((c) => c.json({ error_code: 'NOT_IMPLEMENTED', path: c.req.path }, 501));
  const free = await occupiedPort();
  await free.close();
  port = free.port;
  host = await serveHttps({ authority, port, apps: [first, second], log: () => {}, maxBodyBytes: 1000, maxConnections: 20 });
});

afterAll(async () => {
  await host.stop();
  rmSync(folder, { recursive: true, force: true });
});

function ask(path: string, body?: { bytes: number; chunked?: boolean }): Promise<{ status: number | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : body.chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.bytes };
    const asked = request({ host: '127.0.0.1', port, path, ca, agent: false, method: body === undefined ? 'GET' : 'POST', headers }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, text });
    });
    asked.on('error', reject);
    asked.end('x'.repeat(body?.bytes ?? 0));
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.closed ? resolve() : socket.resume().once('close', () => resolve())));
}

describe('the HTTPS host', () => {
  it('serves the apps in order; the last one answers for what none knows', async () => {
    expect(await ask('/echo', { bytes: 5 })).toEqual({ status: 200, text: 'xxxxx' });
    expect(await ask('/second')).toEqual({ status: 200, text: 'second' });
    expect(await ask('/third')).toEqual({ status: 501, text: '{"error_code":"NOT_IMPLEMENTED","path":"/third"}' });
  });

  it.each([[{ bytes: 1001 }], [{ bytes: 1001, chunked: true }]])('refuses the body %j with 413, to an app that reads it', async (body) => {
    expect(await ask('/echo', body)).toMatchObject({ status: 413, text: expect.stringContaining('at most 1000 bytes') });
  });

  it.each([['chunked', true], ['with its length', false]])('passes a body of 1000 bytes, %s', async (_, chunked) => {
    expect((await ask('/echo', { bytes: 1000, chunked })).text).toHaveLength(1000);
  });

  it('listens on the loopback address alone', async () => {
    const elsewhere = connect({ port, host: '127.0.0.2' });
    const [error] = (await once(elsewhere, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  it.each([
    ['plain HTTP', (socket: Socket) => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['noise', (socket: Socket) => socket.write(Buffer.alloc(100_000, 0x80))],
    ['a torn connection', (socket: Socket) => socket.destroy()],
  ])('survives %s', async (_, attack) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    attack(socket);
    await closed(socket);
    expect((await ask('/second')).text).toBe('second');
  });

  it('answers malformed HTTP with 400 and goes on', async () => {
    const socket = connectTls({ port, host: '127.0.0.1', ca });
    await once(socket, 'secureConnect');
    socket.write('GET /second HTTP/1.1\r\nbad header\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1\.1 400/);
    expect((await ask('/second')).status).toBe(200);
  });

  it('lets the idlest connection go when there are too many, and serves the newcomer', async () => {
    const idle = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => {});
        await once(socket, 'connect');
        return socket;
      }),
    );
    expect((await ask('/second')).text).toBe('second');
    await Promise.all(idle.slice(0, 30).map((socket) => closed(socket)));
    for (const socket of idle) socket.destroy();
  });
});
