import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openAuthority } from '../../src/local/authority.ts';
import { findPrerequisites } from '../../src/local/runtime/prerequisites.ts';

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-authority-'));
const DAY_MS = 86_400_000;
let java = '';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
beforeAll(async () => {
  ({ java } = await findPrerequisites({ maven: false }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = (name: string, days = 0) => openAuthority({ folder: join(folder, name), java, now: () => new Date(Date.now() + days * DAY_MS) });
const certificate = (file: string) => new X509Certificate(readFileSync(file));

describe('the authority', () => {
  it('signs certificates for localhost and the loopback addresses', async () => {
    const authority = await open('a');
    const issued = certificate((await authority.issue('server')).certFile);
    expect(issued.subject).toBe('CN=server');
    expect(issued.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1');
    const ca = certificate(authority.caFile);
    expect(ca.ca).toBe(true);
    expect(issued.checkIssued(ca)).toBe(true);
    expect(issued.verify(ca.publicKey)).toBe(true);
    expect(issued.ca).toBe(false);
  });

  it('is trusted by a client that has its file, and by no other', async () => {
    const authority = await open('a');
    const { certFile, keyFile } = await authority.issue('server');
    const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (_, response) => response.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const ask = (host: string, ca?: Buffer) =>
      new Promise((resolve) => {
        const asked = request({ host, port, ca, agent: false }, (response) => response.resume().on('end', () => resolve(response.statusCode)));
        asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
        asked.end();
      });
    expect(await ask('127.0.0.1', readFileSync(authority.caFile))).toBe(200);
    expect(await ask('localhost', readFileSync(authority.bundleFile))).toBe(200);
    expect(await ask('127.0.0.1')).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    server.close();
    await once(server, 'close');
  });

  it('survives a restart: same authority, same certificates', async () => {
    const [first, second] = [await open('a'), await open('a')];
    expect(readFileSync(second.caFile)).toEqual(readFileSync(first.caFile));
    expect(certificate((await second.issue('server')).certFile).serialNumber).toBe(certificate((await first.issue('server')).certFile).serialNumber);
  });

  it('renews a certificate that nears its end, and itself with all it signed', async () => {
    const old = await open('renewed');
    const [oldCa, oldServer] = [certificate(old.caFile).fingerprint, certificate((await old.issue('server')).certFile).fingerprint];
    const nextYear = await open('renewed', 380);
    expect(certificate(nextYear.caFile).fingerprint).toBe(oldCa);
    expect(certificate((await nextYear.issue('server')).certFile).fingerprint).not.toBe(oldServer);
    const later = await open('renewed', 3640);
    expect(certificate(later.caFile).fingerprint).not.toBe(oldCa);
    expect(existsSync(join(folder, 'renewed', 'issued', 'server.pem'))).toBe(false);
    expect(certificate((await later.issue('server')).certFile).checkIssued(certificate(later.caFile))).toBe(true);
  });

  it('writes files that only their owner reads', async () => {
    const authority = await open('a');
    const { certFile, keyFile } = await authority.issue('server');
    const files = [authority.caFile, authority.trustStoreFile, authority.bundleFile, certFile, keyFile, join(folder, 'a', 'ca-key.pem')];
    expect(files.map((file) => statSync(file).mode & 0o777)).toEqual(files.map(() => 0o600));
    expect(statSync(join(folder, 'a')).mode & 0o777).toBe(0o700);
  });

  it('gives JVMs a trust store with its certificate and no key', async () => {
    const authority = await open('a');
    const keytool = join(java, '..', 'keytool');
    const listing = execFileSync(keytool, ['-list', '-keystore', authority.trustStoreFile, '-storepass', authority.trustStorePassword], { encoding: 'utf8' });
    expect(listing).toContain('trustedCertEntry');
    expect(listing).toContain('contains 1 entry');
    expect(listing).toContain(certificate(authority.caFile).fingerprint256);
  });

  it('gives JVMs that talk to others, too, a trust store with the public authorities besides', async () => {
    const authority = await open('a');
    const files = await Promise.all([authority.publicTrustStore(), authority.publicTrustStore()]);
    const listing = execFileSync(join(java, '..', 'keytool'), ['-list', '-keystore', files[0], '-storepass', authority.trustStorePassword], { encoding: 'utf8' });
    const [, entries] = /contains (\d+) entries/.exec(listing) ?? [];
    expect(Number(entries)).toBeGreaterThan(10);
    expect(listing).toContain(certificate(authority.caFile).fingerprint256);
    expect(statSync(files[1]).mode & 0o777).toBe(0o600);
  });

  it.each(['', '../evil', 'a b', 'a,CN=b', 'x'.repeat(64)])('does not sign for %j', async (name) => {
    await expect((await open('a')).issue(name)).rejects.toThrow(RangeError);
  });
});
