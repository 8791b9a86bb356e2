import { createHash, randomBytes } from 'node:crypto';
import { Failure } from '../errors.ts';
import { retry } from '../poll.ts';
import { CREATED_BY, type Aws } from './clients.ts';
import type { ClusterFound } from './cluster.ts';
import { awsFailure, ifThere, translated, unlessThere } from './failures.ts';
import { createKey, findKey, keyAliasOf, RECOVERY_DAYS, removeKey, type KeyFound } from './keys.ts';

/** admin: provision, destroy and looking at topics. pipeline: producing, and the Spark job. */
export type Role = 'admin' | 'pipeline';
export const ROLES: readonly Role[] = ['admin', 'pipeline'];

export type SecretFound = { name: string; arn: string; ours: boolean; scheduledForDeletion: boolean; associated: boolean };

/** The key and the secrets of a cluster's two SCRAM users; undefined for what does not exist. */
export type LoginsFound = { key: KeyFound | undefined; secrets: Record<Role, SecretFound | undefined> };

export type LoginStep =
  | { do: 'create key'; alias: string }
  | { do: 'create secret'; name: string; role: Role; username: string }
  | { do: 'restore secret'; name: string; role: Role; username: string }
  | { do: 'associate secrets'; names: string[] };

const TAGS = [{ Key: CREATED_BY.key, Value: CREATED_BY.value }];

/** The SCRAM user of a role. */
export function usernameOf(cluster: string, role: Role): string {
  return `${cluster}-${role}`;
}

/** The secret of a role; MSK takes only names with this prefix. */
export function secretNameOf(cluster: string, role: Role): string {
  return `AmazonMSK_${cluster}_${usernameOf(cluster, role)}`;
}

/** Looks at key, secrets and their association with the cluster (undefined: it is gone, so nothing is associated). */
export async function observeLogins(aws: Aws, name: string, cluster: ClusterFound | undefined): Promise<LoginsFound> {
  const associated = new Set(cluster === undefined ? [] : await associatedSecrets(aws, cluster));
  const [key, admin, pipeline] = await Promise.all([findKey(aws, name), findSecret(aws, name, 'admin', associated), findSecret(aws, name, 'pipeline', associated)]);
  return { key, secrets: { admin, pipeline } };
}

/** How long ago the password of a role was written, in milliseconds; undefined where there is none. */
export async function loginAgeMs(aws: Aws, cluster: string, role: Role): Promise<number | undefined> {
  const name = secretNameOf(cluster, role);
  const changed = (await ifThere(`looking for secret ${name}`, () => aws.secrets.send(new aws.api.secrets.DescribeSecretCommand({ SecretId: name }))))?.LastChangedDate;
  return changed && Date.now() - changed.getTime();
}

/** What is missing for both users to exist. Pure. */
export function planLogins(cluster: string, found: LoginsFound): LoginStep[] {
  const steps: LoginStep[] = [];
  const unassociated: string[] = [];
  for (const role of ROLES) {
    const secret = found.secrets[role];
    const name = secretNameOf(cluster, role);
    const login = { name, role, username: usernameOf(cluster, role) };
    if (secret === undefined) steps.push({ do: 'create secret', ...login });
    else if (secret.scheduledForDeletion) steps.push({ do: 'restore secret', ...login });
    if (secret?.associated !== true || secret.scheduledForDeletion) unassociated.push(name);
  }
  // An existing secret has its key; only one that is written needs ours.
  if (steps.length > 0 && found.key === undefined) steps.unshift({ do: 'create key', alias: keyAliasOf(cluster) });
  if (unassociated.length > 0) steps.push({ do: 'associate secrets', names: unassociated });
  return steps;
}

/** Does one step; association is checked secret by secret. A secret that somebody else has written meanwhile stays: there is one password, and who came first made it. */
export async function applyLoginStep(aws: Aws, cluster: ClusterFound, step: LoginStep, signal?: AbortSignal): Promise<void> {
  switch (step.do) {
    case 'create key':
      return createKey(aws, cluster.name);
    case 'create secret':
      await unlessThere(`creating secret ${step.name}`, async () =>
        aws.secrets.send(new aws.api.secrets.CreateSecretCommand({ Name: step.name, KmsKeyId: await keyArn(aws, cluster.name), SecretString: newLogin(step.username), Tags: TAGS, Description: `SCRAM user ${step.username} of MSK cluster ${cluster.name}` })),
      );
      return;
    case 'restore secret':
      return restoreSecret(aws, cluster, step);
    case 'associate secrets':
      return associateSecrets(aws, cluster, step.names, signal);
  }
}

/**
 * Takes the users from the brokers and deletes secrets and key, but only those that provision made; secrets can be had back for
 * 7 days unless `force`, the key always (AWS deletes no key at once).
 */
export async function removeLogins(aws: Aws, cluster: ClusterFound | undefined, name: string, found: LoginsFound, force: boolean): Promise<void> {
  const secrets = ROLES.flatMap((role) => found.secrets[role] ?? []).filter((secret) => secret.ours);
  const associated = secrets.filter((secret) => secret.associated).map((secret) => secret.arn);
  if (cluster !== undefined && associated.length > 0) {
    const answer = await translated('disassociating secrets', () => aws.msk.send(new aws.api.msk.BatchDisassociateScramSecretCommand({ ClusterArn: cluster.arn, SecretArnList: associated })));
    const refused = answer.UnprocessedScramSecrets ?? [];
    if (refused.length > 0) throw unprocessed('disassociate', cluster, refused);
  }
  for (const secret of secrets) {
    if (secret.scheduledForDeletion && !force) continue;
    const how = force ? { ForceDeleteWithoutRecovery: true } : { RecoveryWindowInDays: RECOVERY_DAYS };
    await ifThere(`deleting secret ${secret.name}`, () => aws.secrets.send(new aws.api.secrets.DeleteSecretCommand({ SecretId: secret.arn, ...how })));
  }
  if (found.key?.ours === true) await removeKey(aws, name, found.key);
}

async function associatedSecrets(aws: Aws, cluster: ClusterFound): Promise<string[]> {
  return translated(`listing the secrets of cluster ${cluster.name}`, async () => {
    const arns: string[] = [];
    for await (const page of aws.api.msk.paginateListScramSecrets({ client: aws.msk }, { ClusterArn: cluster.arn })) arns.push(...(page.SecretArnList ?? []));
    return arns;
  });
}

async function findSecret(aws: Aws, cluster: string, role: Role, associated: ReadonlySet<string>): Promise<SecretFound | undefined> {
  const name = secretNameOf(cluster, role);
  const answer = await ifThere(`looking for secret ${name}`, () => aws.secrets.send(new aws.api.secrets.DescribeSecretCommand({ SecretId: name })));
  if (answer?.ARN === undefined) return undefined;
  const ours = (answer.Tags ?? []).some((tag) => tag.Key === CREATED_BY.key && tag.Value === CREATED_BY.value);
  return { name, arn: answer.ARN, ours, scheduledForDeletion: Boolean(answer.DeletedDate), associated: associated.has(answer.ARN) };
}

/**
 * Brings a secret back with a new password: the key of the old one may be gone. The new version is named after the one that it follows: of two who
 * restore at the same time, Secrets Manager refuses the second that name.
 */
async function restoreSecret(aws: Aws, cluster: ClusterFound, { name, username }: { name: string; username: string }): Promise<void> {
  const doing = `restoring secret ${name}`;
  const { ARN: arn, DeletedDate: deleted, VersionIdsToStages: versions = {} } = await translated(doing, () => aws.secrets.send(new aws.api.secrets.DescribeSecretCommand({ SecretId: name })));
  const [current, previous] = ['AWSCURRENT', 'AWSPREVIOUS'].map((stage) => Object.keys(versions).find((id) => versions[id]?.includes(stage)));
  const after = (version: string | undefined): string => createHash('sha256').update(`${arn} ${version}`).digest('hex');
  if (!deleted && current === after(previous)) return;
  await translated(doing, () => aws.secrets.send(new aws.api.secrets.RestoreSecretCommand({ SecretId: name })));
  await unlessThere(doing, async () => aws.secrets.send(new aws.api.secrets.UpdateSecretCommand({ SecretId: name, KmsKeyId: await keyArn(aws, cluster.name), SecretString: newLogin(username), ClientRequestToken: after(current) })));
}

/** The ARN: MSK's documentation warns that a secret under an alias cannot be associated. */
async function keyArn(aws: Aws, cluster: string): Promise<string | undefined> {
  return (await findKey(aws, cluster))?.arn;
}

function newLogin(username: string): string {
  return JSON.stringify({ username, password: randomBytes(32).toString('base64url') });
}

/** MSK refuses a secret that it cannot read yet for some seconds after its creation, with the same code as one that it never will. */
async function associateSecrets(aws: Aws, cluster: ClusterFound, names: string[], signal?: AbortSignal): Promise<void> {
  await retry({ times: 5, firstPauseMs: 1_500, signal }, async () => {
    const described = await Promise.all(names.map((SecretId) => translated(`describing secret ${SecretId}`, () => aws.secrets.send(new aws.api.secrets.DescribeSecretCommand({ SecretId })))));
    const SecretArnList = described.map((secret) => secret.ARN ?? '');
    const answer = await aws.msk.send(new aws.api.msk.BatchAssociateScramSecretCommand({ ClusterArn: cluster.arn, SecretArnList })).catch((error: unknown) => {
      throw awsFailure(error, `associating secrets with cluster ${cluster.name}`);
    });
    const refused = answer.UnprocessedScramSecrets ?? [];
    if (refused.length === 0) return;
    // What somebody else has associated meanwhile is as it should be.
    const there = await associatedSecrets(aws, cluster);
    const missing = refused.filter(({ SecretArn }) => SecretArn === undefined || !there.includes(SecretArn));
    if (missing.length > 0) throw unprocessed('associate', cluster, missing);
  });
}

type Refused = { SecretArn?: string; ErrorCode?: string; ErrorMessage?: string };

function unprocessed(verb: string, cluster: ClusterFound, refused: Refused[]): Failure {
  const each = refused.map(({ SecretArn, ErrorCode, ErrorMessage }) => `${SecretArn} (${ErrorCode}: ${ErrorMessage})`);
  return new Failure({
    code: 'SECRETS_NOT_ASSOCIATED',
    kind: 'remote',
    retriable: refused.every(({ ErrorCode }) => ErrorCode === 'InvalidSecretArn'),
    message: `MSK did not ${verb} ${refused.length} secrets of cluster ${cluster.name}: ${each.join('; ')}`,
    hint: 'Correct each secret that is named (prefix AmazonMSK_, own KMS key, JSON with username and password), then run again: streamgauge provision',
  });
}
