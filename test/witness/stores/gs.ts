import { join } from 'node:path';
import { jar } from '../maven.ts';
import { witnessPython } from '../python.ts';
import { request, startServer, type Store } from './store.ts';

const BUCKET = 'backups';
const ENDPOINT = 'fs.gs.storage.root.url';

/** Google's store (the emulator that PyPI has), with Google's own connector. It lets anybody in: the connector takes a key for Google's own endpoints only. */
export const gs: Store = {
  scheme: 'gs',
  endpoint: ENDPOINT,
  async client(hadoop, port) {
    await Promise.all([witnessPython(), hadoop]);
    return {
      jars: [await jar('com.google.cloud.bigdataoss:gcs-connector:hadoop3-2.2.28:jar:shaded')],
      settings: {
        [ENDPOINT]: `http://127.0.0.1:${port}/`,
        'fs.gs.impl': 'com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem',
        'fs.AbstractFileSystem.gs.impl': 'com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS',
        'fs.gs.auth.service.account.enable': 'false',
        'fs.gs.auth.null.enable': 'true',
      },
    };
  },
  async start({ settings, folder }) {
    const endpoint = new URL(settings[ENDPOINT] as string);
    const env = { GS_PORT: endpoint.port, GS_BUCKET: BUCKET };
    const stop = await startServer(await witnessPython(), ['-I', join(import.meta.dirname, 'gs_server.py')], env, folder, 'ready');
    const objects = `${endpoint}storage/v1/b/${BUCKET}/o`;
    const at = (key: string): string => `${objects}/${encodeURIComponent(key)}`;
    return {
      uri: `gs://${BUCKET}`,
      secret: undefined,
      async keys(prefix = '') {
        const { items } = JSON.parse((await request('GET', `${objects}?maxResults=10000&prefix=${encodeURIComponent(prefix)}`)).toString());
        return items.map(({ name }: { name: string }) => name).filter((key: string) => !key.endsWith('/')).sort();
      },
      read: (key) => request('GET', `${at(key)}?alt=media`),
      write: async (key, content) => void (await request('POST', `${endpoint}upload/storage/v1/b/${BUCKET}/o?uploadType=media&name=${encodeURIComponent(key)}`, { 'content-type': 'application/octet-stream' }, content)),
      remove: async (key) => void (await request('DELETE', at(key))),
      stop,
    };
  },
};
