import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { parseEnv } from 'node:util';
import { Failure, Secret, messageOf } from '../errors.ts';
import type { ElasticsearchAccess, WorkloadIdentity } from './config.ts';

type Environment = Record<string, string | undefined>;

/**
 * Puts the target's own endpoints and credentials (`.streamgauge/<target>.env`) into the process, where the vendors' default
 * chains look for them. The file wins over the shell: a DATABRICKS_HOST left over from another target must not redirect this one.
 */
export function enterTarget(root: string, target: string, environment: Environment): { file: string; found: boolean } {
  const file = join(root, '.streamgauge', `${target}.env`);
  if (!existsSync(file)) return { file, found: false };
  const values = parseEnv(readFileSync(file, 'utf8'));
  Object.assign(environment, values);
  // An empty value takes away what the shell has: an SDK would read an empty DATABRICKS_HOST as one that is set.
  for (const [name, value] of Object.entries(values)) if (value === '') delete environment[name];
  const extra = values.NODE_EXTRA_CA_CERTS;
  if (extra !== undefined) trust(extra, file);
  return { file, found: true };
}

/** Node reads NODE_EXTRA_CA_CERTS only when it starts; a file that was named later is added here. */
function trust(caFile: string, envFile: string): void {
  try {
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(caFile, 'utf8')]);
  } catch (error) {
    throw new Failure({
      code: 'CA_UNREADABLE',
      kind: 'usage',
      message: `NODE_EXTRA_CA_CERTS in ${envFile} names ${caFile}, which cannot be used: ${messageOf(error)}`,
      hint: 'Start what writes that file again (`streamgauge local` for target local), or correct the path.',
      cause: error,
    });
  }
}

/** Elasticsearch's address and credentials, by the names its own clients document; undefined where no address is given. */
export function elasticsearchAccess(environment: Environment): ElasticsearchAccess | undefined {
  const url = environment.ELASTICSEARCH_URL;
  if (!url) return undefined;
  const { ELASTICSEARCH_API_KEY: apiKey, ELASTICSEARCH_USERNAME: username, ELASTICSEARCH_PASSWORD: password } = environment;
  if (apiKey) return { url, auth: { apiKey: new Secret(apiKey) } };
  return { url, auth: { username: username ?? '', password: new Secret(password ?? '') } };
}

/** What the machine that this runs on can prove of itself. */
export function workloadIdentity(environment: Environment): WorkloadIdentity {
  const { DATABRICKS_TOKEN_AUDIENCE: audience, DATABRICKS_OIDC_TOKEN_FILEPATH: file, ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token } = environment;
  const name = environment.DATABRICKS_OIDC_TOKEN_ENV || 'DATABRICKS_OIDC_TOKEN';
  const value = environment[name];
  return {
    ...(audience ? { audience } : {}),
    ...(url && token ? { github: { url, token: new Secret(token) } } : {}),
    variable: { name, ...(value ? { value: new Secret(value) } : {}) },
    ...(file ? { file } : {}),
  };
}
