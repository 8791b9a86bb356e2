import type { Secret } from '../errors.ts';
import type { Pipeline } from './schema.ts';

export type { Pipeline };

/** How to reach Elasticsearch; `undefined` in a Config where the environment names none. */
export type ElasticsearchAccess = Readonly<{
  url: string;
  auth: { apiKey: Secret } | { username: string; password: Secret };
}>;

/** Where tokens of the machine itself are, for DATABRICKS_AUTH_TYPE github-oidc, env-oidc, file-oidc: by the names of Databricks' unified authentication. */
export type WorkloadIdentity = Readonly<{
  /** DATABRICKS_TOKEN_AUDIENCE: whom the token is for; Databricks' token endpoint where it is left out. */
  audience?: string;
  github?: { url: string; token: Secret };
  /** DATABRICKS_OIDC_TOKEN, or the variable that DATABRICKS_OIDC_TOKEN_ENV names. */
  variable: { name: string; value?: Secret };
  /** DATABRICKS_OIDC_TOKEN_FILEPATH. */
  file?: string;
}>;

/** One job as the bundle's YAML has it, variables filled in; `${workspace...}` is left for whoever knows the workspace. */
export type BundleJob = Readonly<{
  /** Key under `resources.jobs`. */
  key: string;
  /** File that defines it, relative to the bundle's root: relative notebook paths start from its folder. */
  file: string;
  settings: Readonly<Record<string, unknown>>;
}>;

/** The whole configuration of one invocation: frozen, validated, and the only thing that verbs know of the environment. */
export type Config = Readonly<{
  bundle: string;
  target: string;
  mode: 'development' | 'production' | undefined;
  /** Folder of databricks.yml, absolute. */
  root: string;
  /** Variables by name after precedence, as text: what `${var.name}` becomes. */
  variables: Readonly<Record<string, string>>;
  pipeline: Pipeline;
  jobs: readonly BundleJob[];
  /** Files and folders of `sync.paths`, relative to `root`. */
  syncPaths: readonly string[];
  databricks: Readonly<{
    /** `workspace.host` of the target or DATABRICKS_HOST; undefined leaves it to the SDK's own chain (profiles). */
    host: string | undefined;
    /** `workspace.profile`, for the SDK's chain. */
    profile: string | undefined;
    /** Unresolved `workspace.root_path`; may hold `${workspace.current_user.userName}`. */
    rootPath: string;
    /** DATABRICKS_HTTP_PATH, or made of the variable warehouse_id. */
    httpPath: string | undefined;
    /** Where it is kept who a credential belongs to; undefined for nowhere. */
    identityFile?: string;
    workloadIdentity?: WorkloadIdentity;
    /** True where nothing in the bundle is named after a display name: then a service principal's id says all that has to be known of it. */
    knownById?: boolean;
  }>;
  elasticsearch: ElasticsearchAccess | undefined;
  /** Region for the AWS SDK; undefined leaves it to its default chain. Endpoints and credentials are the chain's own. */
  awsRegion: string | undefined;
  /** Every STREAMGAUGE_... variable of the environment, for the local platform (ports, cache). */
  platformVariables: Readonly<Record<string, string>>;
  /** CI=true: never ask, never animate. */
  ci: boolean;
}>;
