import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { openAuthority } from '../../src/local/authority.ts';
import type { Authority, Runtime } from '../../src/local/contract.ts';
import { Secret } from '../../src/errors.ts';
import { serveHttps } from '../../src/local/facades/https.ts';
import { createMsk } from '../../src/local/facades/msk/main.ts';
import { install } from '../../src/local/runtime/install.ts';
import { startAws } from '../../src/local/servers/aws.ts';
import type { BrokerPorts } from '../../src/local/servers/kafka-settings.ts';

export const REGION = 'eu-central-1';
export const ACCESS_KEY = { accessKeyId: 'AKIALOCALTESTKEY', secretAccessKey: 'with/slashes+and=signs' };

/** A folder, an authority that this process trusts, and the installed engines. */
export type Ground = { folder: string; authority: Authority & { bundleFile: string }; runtime: Runtime; remove(): void };

/** MSK, Secrets Manager, KMS and STS on ports of their own, apart from the platform that other tests share. */
export type AwsPlatform = {
  ground: Ground;
  environment: Record<string, string>;
  msk: string;
  aws: string;
  awsPid(): number;
  log: string[];
  stop(): Promise<void>;
};

export async function prepareGround(): Promise<Ground> {
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-aws-'));
  const runtime = await install({ progress: () => {} });
  const authority = await openAuthority({ folder: join(folder, 'tls'), java: runtime.java });
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(authority.caFile, 'utf8')]);
  return { folder, authority, runtime, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Starts on the ground's state, which survives `stop`: starting again is a restart. */
export async function startAwsPlatform(ground: Ground, ports: { msk: number; aws: number; kafka: BrokerPorts[] }): Promise<AwsPlatform> {
  const { authority, runtime, folder } = ground;
  const logDir = join(folder, 'log');
  const log: string[] = [];
  const credentials = { accessKeyId: ACCESS_KEY.accessKeyId, secretAccessKey: new Secret(ACCESS_KEY.secretAccessKey) };
  const aws = await startAws({ runtime, authority, stateDir: join(folder, 'aws'), logDir, port: ports.aws, credentials });
  const msk = await createMsk({
    runtime,
    authority,
    stateDir: join(folder, 'msk'),
    logDir,
    region: REGION,
    accountId: '123456789012',
    ports: ports.kafka,
    portVariable: 'STREAMGAUGE_KAFKA_PORT',
    heapMb: 256,
    log: (line) => void log.push(line),
    awsUrl: aws.url,
    credentials,
  });
  const host = await serveHttps({ authority, port: ports.msk, apps: [msk.app], log: (line) => void log.push(line) });
  const mskUrl = `https://127.0.0.1:${ports.msk}`;
  const environment = {
    AWS_ENDPOINT_URL_KAFKA: mskUrl,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: aws.url,
    AWS_ENDPOINT_URL_KMS: aws.url,
    AWS_ENDPOINT_URL_STS: aws.url,
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    AWS_ACCESS_KEY_ID: ACCESS_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: ACCESS_KEY.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CA_BUNDLE: authority.bundleFile,
  };
  const stop = async () => {
    await host.stop();
    await Promise.all([msk.stop(), aws.stop()]);
  };
  return { ground, environment, msk: mskUrl, aws: aws.url, awsPid: () => aws.pid, log, stop };
}

/** As many ports as asked for that nothing listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Ports of so many brokers. */
export async function brokerPorts(brokers: number): Promise<BrokerPorts[]> {
  const ports = await freePorts(brokers * 3);
  return Array.from({ length: brokers }, (_, index) => ({ clients: ports[index * 3] as number, internal: ports[index * 3 + 1] as number, controller: ports[index * 3 + 2] as number }));
}
