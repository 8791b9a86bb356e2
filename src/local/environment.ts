import { join } from 'node:path';
import type { Credentials } from './credentials.ts';
import type { Ports } from './ports.ts';

export const REGION = 'us-east-1';
export const ACCOUNT_ID = '123456789012';
/** The one SQL warehouse. */
export const WAREHOUSE_ID = '0123456789abcdef';
export const HTTP_PATH = `/sql/1.0/warehouses/${WAREHOUSE_ID}`;
export const ELASTICSEARCH_USER = 'streamgauge';

/** What clients need to find and to enter the platform, in the names that the ecosystem's own clients read. */
export type Environment = Record<string, string>;

/**
 * Variables of `.streamgauge/local.env`. Addresses, not `localhost`: nothing else can answer on [::1].
 * AWS_DEFAULT_REGION beside AWS_REGION: boto3 reads only the former, the other SDKs the latter.
 */
export function environmentOf(ports: Ports, credentials: Credentials, files: { caFile: string; bundleFile: string }, stateDir: string): Environment {
  const at = (port: number) => `https://127.0.0.1:${port}`;
  return {
    DATABRICKS_HOST: at(ports.workspace),
    DATABRICKS_TOKEN: credentials.databricksToken.reveal(),
    DATABRICKS_HTTP_PATH: HTTP_PATH,
    AWS_ENDPOINT_URL_KAFKA: at(ports.aws),
    AWS_ENDPOINT_URL_SECRETS_MANAGER: at(ports.moto),
    AWS_ENDPOINT_URL_KMS: at(ports.moto),
    AWS_ENDPOINT_URL_STS: at(ports.moto),
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    AWS_ACCESS_KEY_ID: credentials.awsAccessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.awsSecretAccessKey.reveal(),
    ELASTICSEARCH_URL: at(ports.elasticsearch.http),
    ELASTICSEARCH_USERNAME: ELASTICSEARCH_USER,
    ELASTICSEARCH_PASSWORD: credentials.elasticsearchPassword.reveal(),
    // Node adds it to its own authorities; the others replace theirs, so that file holds the public ones too.
    NODE_EXTRA_CA_CERTS: files.caFile,
    SSL_CERT_FILE: files.bundleFile,
    REQUESTS_CA_BUNDLE: files.bundleFile,
    AWS_CA_BUNDLE: files.bundleFile,
    // Open-source Spark has no /Volumes: the folder that stands for it, under the name that the bundle's variable has.
    BUNDLE_VAR_checkpoint_root: `file:${join(volumesOf(stateDir), 'spark_catalog', 'streamgauge', 'checkpoints')}`,
  };
}

/** Folder that stands for /Volumes. */
export function volumesOf(stateDir: string): string {
  return join(stateDir, 'volumes');
}

/** Variables of the user's shell that would win over, or contradict, the platform's. */
export const CONTRADICTING = [
  'AWS_PROFILE',
  'AWS_SESSION_TOKEN',
  'AWS_ENDPOINT_URL',
  'DATABRICKS_CONFIG_PROFILE',
  'DATABRICKS_AUTH_TYPE',
  'DATABRICKS_CLIENT_ID',
  'DATABRICKS_CLIENT_SECRET',
  'ELASTICSEARCH_API_KEY',
];

/** The file's text: NAME=value lines, quoted where they must be, which shells and Node read alike. */
export function environmentFile(environment: Environment): string {
  const lines = Object.entries(environment).map(([name, value]) => `${name}=${quoted(value)}\n`);
  return `# Written by \`streamgauge local\` at each start. It holds credentials: keep it as it is, mode 0600.\n${lines.join('')}`;
}

function quoted(value: string): string {
  if (/^[\w./:@%+=,-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value}"` : `'${value}'`;
}
