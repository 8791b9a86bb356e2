import { execFile } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import { cached } from '../cache.ts';
import { jar } from '../maven.ts';
import { path, request, startServer, type Store } from './store.ts';

const [ACCOUNT, CONTAINER] = ['streamgauge', 'backups'];
const HOST = `${ACCOUNT}.dfs.core.windows.net`;
const ENDPOINT = 'fs.azure.abfs.endpoint';
const KEY = `fs.azure.account.key.${HOST}`;

/** Azure's store (Azurite, its makers' own), with Hadoop's own client of it, over TLS. Azurite has no hierarchical namespace: it is an account without one, by its Blob endpoint. */
export const abfss: Store = {
  scheme: 'abfss',
  endpoint: ENDPOINT,
  async client(hadoop, port) {
    const [version] = await Promise.all([hadoop, azurite()]);
    return {
      jars: [await jar(`org.apache.hadoop:hadoop-azure:${version}`)],
      settings: {
        [ENDPOINT]: `127.0.0.1:${port}`,
        [KEY]: randomBytes(64).toString('base64'),
        'fs.azure.account.hns.enabled': 'false',
        'fs.azure.fns.account.service.type': 'BLOB',
        'fs.azure.ingress.service.type': 'BLOB',
      },
    };
  },
  async start({ settings, stateDir, folder }) {
    const [endpoint, secret] = [settings[ENDPOINT], settings[KEY]] as [string, string];
    const tls = join(stateDir, 'tls');
    const issued = join(tls, 'issued', 'streamgauge-https');
    const options = ['--blobPort', endpoint.split(':')[1] as string, '--inMemoryPersistence', '--disableTelemetry', '--silent', '--cert', `${issued}.pem`, '--key', `${issued}-key.pem`];
    const args = [join(import.meta.dirname, 'abfss_server.mjs'), await azurite(), ...options];
    const stop = await startServer(process.execPath, args, { AZURITE_ACCOUNTS: `${ACCOUNT}:${secret}` }, folder, 'successfully listens');
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(join(tls, 'ca.pem'), 'utf8')]);
    const container = `https://${endpoint}/${ACCOUNT}/${CONTAINER}`;
    const signed = signature(secret);
    const at = (key: string): string => `${container}/${path(key)}?${signed}`;
    await request('PUT', `${container}?restype=container&${signed}`);
    return {
      uri: `abfss://${CONTAINER}@${HOST}`,
      secret,
      async keys(prefix = '') {
        const listed = (await request('GET', `${container}?restype=container&comp=list&include=metadata&prefix=${encodeURIComponent(prefix)}&${signed}`)).toString();
        const blobs = [...listed.matchAll(/<Blob>.*?<\/Blob>/gs)].map(([blob]) => blob).filter((blob) => !blob.includes('<hdi_isfolder>true<'));
        return blobs.map((blob) => /<Name>([^<]*)</.exec(blob)?.[1] ?? '').sort();
      },
      read: (key) => request('GET', at(key)),
      write: async (key, content) => void (await request('PUT', at(key), { 'x-ms-blob-type': 'BlockBlob' }, content)),
      remove: async (key) => void (await request('DELETE', at(key))),
      stop,
    };
  },
};

/** Azurite in the engines' cache, each package by the version that its lock names. */
function azurite(): Promise<string> {
  const listed = ['package.json', 'package-lock.json'].map((name) => join(import.meta.dirname, 'azurite', name));
  const digest = createHash('sha256').update(listed.map((file) => readFileSync(file)).join('')).digest('hex').slice(0, 16);
  return cached(`azurite-${digest}`, async (folder) => {
    for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(import.meta.dirname, 'azurite', name), join(folder, name));
    await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, maxBuffer: 2 ** 24 });
    return folder;
  });
}

/** A shared access signature of the account: everything, for as long as the key lasts. */
function signature(key: string): string {
  const given = { sp: 'rwdlc', ss: 'b', srt: 'sco', st: '', se: '2099-01-01T00:00:00Z', sip: '', spr: 'https', sv: '2020-12-06', ses: '' };
  const text = [ACCOUNT, ...Object.values(given), ''].join('\n');
  const sig = createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
  return new URLSearchParams({ ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== '')), sig }).toString();
}
