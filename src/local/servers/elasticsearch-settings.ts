import { pbkdf2Sync, randomBytes } from 'node:crypto';
import type { Secret } from '../../errors.ts';

export type ElasticsearchPorts = { http: number; transport: number };
export type ElasticsearchFolders = { data: string; logs: string; temporary: string };
export type ElasticsearchUser = { name: string; password: Secret; role: string };

/** Role of the controller's user: index templates, and the indices of windows; every other index is refused. */
export const WRITER_ROLE = 'streamgauge_writer';
/** Built in: everything. */
export const ADMIN_ROLE = 'superuser';

/** `elasticsearch.yml`: one node on loopback, HTTPS with the platform's certificate, users from files only. */
export function elasticsearchYml(ports: ElasticsearchPorts, folders: ElasticsearchFolders): string {
  const settings = {
    'cluster.name': 'streamgauge-local',
    'node.name': 'local',
    'path.data': folders.data,
    'path.logs': folders.logs,
    'http.host': '127.0.0.1',
    'http.port': ports.http,
    'transport.host': '127.0.0.1',
    'transport.port': ports.transport,
    'discovery.type': 'single-node',
    // A nearly full disk of a developer's machine must not make the index read-only.
    'cluster.routing.allocation.disk.threshold_enabled': false,
    'xpack.license.self_generated.type': 'basic',
    'xpack.security.enabled': true,
    'xpack.security.autoconfiguration.enabled': false,
    'xpack.security.enrollment.enabled': false,
    'xpack.security.http.ssl.enabled': true,
    'xpack.security.http.ssl.certificate': 'certs/http.pem',
    'xpack.security.http.ssl.key': 'certs/http-key.pem',
    'xpack.security.authc.realms.file.local.order': 0,
    // Its index cannot be created in this distribution: the analysis it needs is not part of it.
    'xpack.security.authc.realms.native.unused.order': 1,
    'xpack.security.authc.realms.native.unused.enabled': false,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join('');
}

/** `jvm.options`: a small heap that is not touched before it is used. */
export function jvmOptions(heapMb: number, folders: ElasticsearchFolders): string {
  return [
    `-Xms${heapMb}m`,
    `-Xmx${heapMb}m`,
    '-XX:-AlwaysPreTouch',
    '-XX:+UseSerialGC',
    // The optimising compiler only for what stays hot: else it takes a third of the start's processor time (measured: 10.5 s, 7.5 s).
    '-XX:Tier4InvocationThreshold=30000',
    '-XX:Tier4MinInvocationThreshold=3600',
    '-XX:Tier4CompileThreshold=90000',
    '-XX:Tier4BackEdgeThreshold=240000',
    '-XX:+ExitOnOutOfMemoryError',
    `-XX:ErrorFile=${folders.logs}/elasticsearch-crash-%p.log`,
    '-Djava.io.tmpdir=${ES_TMPDIR}',
    // It would fail to build the security index, which needs analysis that this distribution lacks.
    '-Des.queryable_built_in_roles_enabled=false',
    '',
  ].join('\n');
}

/** `roles.yml`: what the controller does and no more; JSON is YAML. */
export function rolesYml(): string {
  const writer = {
    cluster: ['manage_index_templates', 'monitor'],
    indices: [{ names: ['traffic_windows*'], privileges: ['read', 'write', 'create_index', 'manage'] }],
  };
  return `${WRITER_ROLE}: ${JSON.stringify(writer)}\n`;
}

/** `users` and `users_roles` of the file realm. */
export function userFiles(users: ElasticsearchUser[]): { users: string; usersRoles: string } {
  return {
    users: users.map((user) => `${user.name}:${passwordHash(user.password)}\n`).join(''),
    usersRoles: users.map((user) => `${user.role}:${user.name}\n`).join(''),
  };
}

/** Elasticsearch's {PBKDF2} form: rounds, 32 bytes of salt, 32 bytes of HMAC-SHA-512; few rounds, as the passwords are random. */
function passwordHash(password: Secret): string {
  const rounds = 1000;
  const salt = randomBytes(32);
  const hash = pbkdf2Sync(password.reveal(), salt, rounds, 32, 'sha512');
  return `{PBKDF2}${rounds}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

export const elasticsearchLog4j = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1.}: %m%consoleException%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.deprecation.name = deprecation
logger.deprecation.level = off
# What a production host would have to fix is no concern of a developer's machine.
logger.checks.name = org.elasticsearch.bootstrap.BootstrapChecks
logger.checks.level = error
`;
