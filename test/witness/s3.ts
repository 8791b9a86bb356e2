import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, globSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Runtime } from '../../src/local/contract.ts';
import { jarsIfReachable } from './maven.ts';

const BUCKET = 'backups';

/** What Spark must have to reach an S3 that will listen on this port: a folder with Hadoop's client of it and core-site.xml with a key pair; undefined, and said so, where the jars cannot be had. */
export async function s3Settings({ sparkHome }: Pick<Runtime, 'sparkHome'>, port: number): Promise<string | undefined> {
  const [version = ''] = globSync('hadoop-client-api-*.jar', { cwd: join(sparkHome, 'jars') }).map((name) => name.slice('hadoop-client-api-'.length, -'.jar'.length));
  const jars = await jarsIfReachable('S3', join(import.meta.dirname, 's3a.pom.xml'), { hadoop: version });
  if (jars === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-s3a-'));
  for (const jar of globSync('*.jar', { cwd: jars })) copyFileSync(join(jars, jar), join(folder, jar));
  const settings = {
    'fs.s3a.endpoint': `http://127.0.0.1:${port}`,
    'fs.s3a.endpoint.region': 'us-east-1',
    'fs.s3a.path.style.access': 'true',
    'fs.s3a.aws.credentials.provider': 'org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider',
    'fs.s3a.access.key': `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    'fs.s3a.secret.key': randomBytes(20).toString('hex'),
  };
  const properties = Object.entries(settings).map(([name, value]) => `<property><name>${name}</name><value>${value}</value></property>`);
  writeFileSync(join(folder, 'core-site.xml'), `<configuration>${properties.join('')}</configuration>`, { mode: 0o600 });
  return folder;
}

export type S3 = {
  /** `s3a://BUCKET` */
  uri: string;
  secretKey: string;
  /** Keys of the bucket's objects that begin so, in order. */
  keys(prefix?: string): Promise<string[]>;
  read(key: string): Promise<Buffer>;
  write(key: string, content: Buffer): Promise<void>;
  remove(key: string): Promise<void>;
  stop(): Promise<void>;
};

/** The S3 that these settings name, with an empty bucket. */
export async function startS3({ python }: Pick<Runtime, 'python'>, folder: string): Promise<S3> {
  const text = readFileSync(join(folder, 'core-site.xml'), 'utf8');
  const setting = (name: string): string => new RegExp(`<name>${name}</name><value>([^<]*)`).exec(text)?.[1] ?? '';
  const [endpoint, accessKey, secretKey] = ['fs.s3a.endpoint', 'fs.s3a.access.key', 'fs.s3a.secret.key'].map(setting) as [string, string, string];
  const { PATH = '' } = process.env;
  const env = { PATH, HOME: folder, S3_PORT: new URL(endpoint).port, S3_BUCKET: BUCKET, S3_ACCESS_KEY: accessKey, S3_SECRET_KEY: secretKey };
  const child = spawn(python, ['-I', join(import.meta.dirname, 's3_server.py')], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'close');
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (value !== 'ready') throw new Error('S3 did not start');
  const request = async (method: string, path: string, body?: Buffer): Promise<Buffer> => {
    const headers = { authorization: `AWS4-HMAC-SHA256 Credential=${accessKey}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0` };
    const answer = await fetch(`${endpoint}/${BUCKET}${path}`, { method, headers, body: body === undefined ? undefined : new Uint8Array(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return Buffer.from(await answer.arrayBuffer());
  };
  const at = (key: string): string => `/${key.split('/').map(encodeURIComponent).join('/')}`;
  return {
    uri: `s3a://${BUCKET}`,
    secretKey,
    keys: async (prefix = '') => [...(await request('GET', `?list-type=2&max-keys=10000&prefix=${encodeURIComponent(prefix)}`)).toString().matchAll(/<Key>([^<]*)</g)].map(([, key]) => key as string).sort(),
    read: (key) => request('GET', at(key)),
    write: async (key, content) => void (await request('PUT', at(key), content)),
    remove: async (key) => void (await request('DELETE', at(key))),
    stop: async () => {
      child.kill();
      await gone;
    },
  };
}
