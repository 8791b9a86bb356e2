import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { jars } from '../maven.ts';
import { path, request, startServer, type Store } from './store.ts';

const BUCKET = 'backups';
const ENDPOINT = 'fs.s3a.endpoint';

/** S3 (moto's), with Hadoop's own client of it. */
export const s3a: Store = {
  scheme: 's3a',
  endpoint: ENDPOINT,
  client: async (hadoop, port) => ({
    jars: await jars(join(import.meta.dirname, 's3a.pom.xml'), { hadoop: await hadoop }),
    settings: {
      [ENDPOINT]: `http://127.0.0.1:${port}`,
      'fs.s3a.endpoint.region': 'us-east-1',
      'fs.s3a.path.style.access': 'true',
      'fs.s3a.aws.credentials.provider': 'org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider',
      'fs.s3a.access.key': `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
      'fs.s3a.secret.key': randomBytes(20).toString('hex'),
    },
  }),
  async start({ runtime, settings, folder }) {
    const [endpoint, accessKey, secret] = [ENDPOINT, 'fs.s3a.access.key', 'fs.s3a.secret.key'].map((name) => settings[name]) as [string, string, string];
    const env = { S3_PORT: new URL(endpoint).port, S3_BUCKET: BUCKET, S3_ACCESS_KEY: accessKey, S3_SECRET_KEY: secret };
    const stop = await startServer(runtime.python, ['-I', join(import.meta.dirname, 's3_server.py')], env, folder, 'ready');
    const headers = { authorization: `AWS4-HMAC-SHA256 Credential=${accessKey}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0` };
    const at = (key: string): string => `${endpoint}/${BUCKET}/${path(key)}`;
    return {
      uri: `s3a://${BUCKET}`,
      secret,
      async keys(prefix = '') {
        const listed = (await request('GET', `${endpoint}/${BUCKET}?list-type=2&max-keys=10000&prefix=${encodeURIComponent(prefix)}`, headers)).toString();
        return [...listed.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key as string).filter((key) => !key.endsWith('/')).sort();
      },
      read: (key) => request('GET', at(key), headers),
      write: async (key, content) => void (await request('PUT', at(key), headers, content)),
      remove: async (key) => void (await request('DELETE', at(key), headers)),
      stop,
    };
  },
};
