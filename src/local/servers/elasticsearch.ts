import { mkdir, readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import type { Secret } from '../../errors.ts';
import { poll } from '../../poll.ts';
import type { Authority, Log, Runtime } from '../contract.ts';
import { writeAtomic } from '../state.ts';
import { ADMIN_ROLE, elasticsearchLog4j, elasticsearchYml, jvmOptions, rolesYml, userFiles, WRITER_ROLE, type ElasticsearchPorts } from './elasticsearch-settings.ts';
import { startServer } from './server.ts';
import { supervise, type Supervised } from './supervise.ts';

export type ElasticsearchOptions = {
  runtime: Pick<Runtime, 'java' | 'python' | 'elasticsearchHome'>;
  authority: Authority;
  /** Configuration and indices; mode 0700. */
  stateDir: string;
  logDir: string;
  ports: ElasticsearchPorts;
  /** The controller's user, with the least privileges. */
  writer: Credentials;
  /** For tests and repair. */
  admin: Credentials;
  heapMb: number;
  log: Log;
  signal?: AbortSignal;
};

export type Credentials = { username: string; password: Secret };

export type Elasticsearch = Supervised & { url: string };

const READY_DEADLINE_MS = 180_000;

/** Starts one Elasticsearch node with TLS and users; ready when the writer's user gets a healthy cluster's state. */
export async function startElasticsearch(options: ElasticsearchOptions): Promise<Elasticsearch> {
  const logFile = join(options.logDir, 'elasticsearch.log');
  const config = await writeConfiguration(options);
  const ca = await readFile(options.authority.caFile, 'utf8');
  const server = await supervise({
    name: 'Elasticsearch',
    logFile,
    log: options.log,
    signal: options.signal,
    start: (signal) =>
      startServer({
        name: 'Elasticsearch',
        python: options.runtime.python,
        command: join(options.runtime.elasticsearchHome, 'bin', 'elasticsearch'),
        args: [],
        env: {
          ES_JAVA_HOME: join(options.runtime.java, '..', '..'),
          ES_PATH_CONF: config,
          // The launcher's own JVM lives to wait.
          CLI_JAVA_OPTS: '-XX:TieredStopAtLevel=1',
          ES_TMPDIR: join(options.stateDir, 'tmp'),
        },
        cwd: options.stateDir,
        logFile,
        // It refuses to run as root.
        unprivileged: true,
        deadlineMs: READY_DEADLINE_MS,
        signal,
        ready: (over) =>
          poll({ what: 'Elasticsearch', deadlineMs: READY_DEADLINE_MS, intervalMs: 300, maxIntervalMs: 400, signal: over }, async () =>
            (await healthStatus(options, ca, over)) === 200 ? true : undefined,
          ),
      }),
  });
  return { ...server, url: `https://localhost:${options.ports.http}` };
}

async function writeConfiguration(options: ElasticsearchOptions): Promise<string> {
  const config = join(options.stateDir, 'config');
  const folders = { data: join(options.stateDir, 'data'), logs: options.logDir, temporary: join(options.stateDir, 'tmp') };
  await Promise.all([join(config, 'certs'), ...Object.values(folders)].map((folder) => mkdir(folder, { recursive: true, mode: 0o700 })));
  // Copies: it reads TLS files only below its configuration.
  const { certFile, keyFile } = await options.authority.issue('elasticsearch');
  const [certificate, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  const { users, usersRoles } = userFiles([
    { name: options.writer.username, password: options.writer.password, role: WRITER_ROLE },
    { name: options.admin.username, password: options.admin.password, role: ADMIN_ROLE },
  ]);
  const files: [string, string][] = [
    ['elasticsearch.yml', elasticsearchYml(options.ports, folders)],
    ['jvm.options', jvmOptions(options.heapMb, folders)],
    ['log4j2.properties', elasticsearchLog4j],
    ['roles.yml', rolesYml()],
    ['role_mapping.yml', ''],
    ['users', users],
    ['users_roles', usersRoles],
    ['certs/http.pem', certificate],
    ['certs/http-key.pem', key],
  ];
  await Promise.all(files.map(([name, text]) => writeAtomic(join(config, name), text)));
  return config;
}

/** HTTP status of the cluster's health as the writer's user sees it; undefined while nobody answers. */
function healthStatus({ ports, writer }: ElasticsearchOptions, ca: string, signal: AbortSignal): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = request({
      host: '127.0.0.1',
      port: ports.http,
      // 408 until the indices of the last run are recovered.
      path: '/_cluster/health?wait_for_status=yellow&timeout=1s',
      auth: `${writer.username}:${writer.password.reveal()}`,
      ca,
      signal,
      timeout: 5_000,
      agent: false,
    });
    probe.on('timeout', () => probe.destroy());
    probe.on('error', () => resolve(undefined));
    probe.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    probe.end();
  });
}
