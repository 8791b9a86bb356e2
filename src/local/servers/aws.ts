import { mkdir, readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { Secret } from '../../errors.ts';
import { poll } from '../../poll.ts';
import type { Authority, Runtime } from '../contract.ts';
import { runtimeFile } from '../runtime/files.ts';
import type { Started } from './process.ts';
import { startServer } from './server.ts';

/** The one key pair that the local AWS services accept. */
export type AwsCredentials = { accessKeyId: string; secretAccessKey: Secret };

export type AwsOptions = {
  runtime: Pick<Runtime, 'python'>;
  authority: Authority;
  /** Keys and secrets are kept there; mode 0700. */
  stateDir: string;
  logDir: string;
  port: number;
  credentials: AwsCredentials;
  signal?: AbortSignal;
};

const READY_DEADLINE_MS = 60_000;

/** Starts Secrets Manager, KMS and STS (moto) on https://127.0.0.1:port; requests must be signed with `credentials`. */
export async function startAws(options: AwsOptions): Promise<Started & { url: string }> {
  await mkdir(options.stateDir, { recursive: true, mode: 0o700 });
  const [{ certFile, keyFile }, ca] = await Promise.all([options.authority.issue('streamgauge-aws'), readFile(options.authority.caFile)]);
  const url = `https://127.0.0.1:${options.port}`;
  const started = await startServer({
    name: 'AWS services (moto)',
    python: options.runtime.python,
    command: options.runtime.python,
    args: ['-I', runtimeFile('aws_server.py')],
    env: {
      AWS_SERVER_PORT: String(options.port),
      AWS_SERVER_CERT: certFile,
      AWS_SERVER_KEY: keyFile,
      AWS_SERVER_STATE: join(options.stateDir, 'aws.pickle'),
      AWS_SERVER_ACCESS_KEY: options.credentials.accessKeyId,
      AWS_SERVER_SECRET_KEY: options.credentials.secretAccessKey.reveal(),
      // Without these, botocore looks for a region and credentials of its own in moto's first request.
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    logFile: join(options.logDir, 'aws.log'),
    graceMs: 3_000,
    deadlineMs: READY_DEADLINE_MS,
    signal: options.signal,
    ready: (signal) => poll({ what: 'AWS services (moto)', deadlineMs: READY_DEADLINE_MS, intervalMs: 100, maxIntervalMs: 400, signal }, () => answers(url, ca)),
  });
  return { ...started, url };
}

/** True when the server refuses an unsigned request as it should; undefined while it does not listen yet. */
function answers(url: string, ca: Buffer): Promise<true | undefined> {
  return new Promise((resolve) => {
    const probe = request(url, { ca, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 403 ? true : undefined);
    });
    probe.once('timeout', () => probe.destroy(new Error('no answer')));
    probe.once('error', () => resolve(undefined));
    probe.end();
  });
}
