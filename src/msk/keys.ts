import { poll } from '../poll.ts';
import { CREATED_BY, type Aws } from './clients.ts';
import { awsFailure, ifThere, translated, unlessThere } from './failures.ts';

/** The key of a cluster's SCRAM secrets: MSK refuses secrets under the account's default key. */
export type KeyFound = { id: string; arn: string; ours: boolean };

/** Least and default of what AWS allows: nobody needs the key or a generated password again. */
export const RECOVERY_DAYS = 7;
/** KMS tells an alias a moment after it was given. */
const SEEN_DEADLINE_MS = 60_000;
/** Tells whose key it is while it has no alias. */
const CLUSTER_TAG = 'streamgauge-cluster';

/** The alias under which a cluster's key is looked for. */
export function keyAliasOf(cluster: string): string {
  return `alias/${cluster}-streamgauge`;
}

/** The key that has the cluster's alias. */
export async function findKey(aws: Aws, cluster: string): Promise<KeyFound | undefined> {
  const alias = keyAliasOf(cluster);
  const answer = await ifThere(`looking for key ${alias}`, () => aws.kms.send(new aws.api.kms.DescribeKeyCommand({ KeyId: alias })));
  const { KeyId: id, Arn: arn } = answer?.KeyMetadata ?? {};
  if (id === undefined || arn === undefined) return undefined;
  return { id, arn, ours: (await tagsOf(aws, id))[CREATED_BY.key] === CREATED_BY.value };
}

/**
 * A key of ours for this cluster that has no alias, and is in use: a controller was killed between the two calls that make it, or that take it away. Reads
 * the tags of every key without an alias, so it is for when there is no other; undefined also where this identity may not look.
 */
export async function strayKey(aws: Aws, cluster: string): Promise<KeyFound | undefined> {
  const { kms } = aws.api;
  try {
    const named = new Set<string | undefined>();
    for await (const page of kms.paginateListAliases({ client: aws.kms }, {})) for (const { TargetKeyId: id } of page.Aliases ?? []) named.add(id);
    for await (const page of kms.paginateListKeys({ client: aws.kms }, {})) {
      for (const { KeyId: id, KeyArn: arn } of page.Keys ?? []) {
        if (id === undefined || arn === undefined || named.has(id)) continue;
        // A key's own policy may keep everybody out: then it is not ours.
        const tags = await tagsOf(aws, id).catch(noAccess);
        if (tags?.[CREATED_BY.key] !== CREATED_BY.value || tags[CLUSTER_TAG] !== cluster) continue;
        const { KeyMetadata: key } = await aws.kms.send(new kms.DescribeKeyCommand({ KeyId: id }));
        if (key?.KeyState === 'Enabled') return { id, arn, ours: true };
      }
    }
    return undefined;
  } catch (error) {
    return noAccess(awsFailure(error, `looking for a key of cluster ${cluster}`));
  }
}

/** Makes the cluster's key, or gives its alias to the one that a killed controller left. Whoever gives the alias first decides which key it is; another's own goes again. */
export async function createKey(aws: Aws, cluster: string): Promise<void> {
  const left = await strayKey(aws, cluster);
  const alias = keyAliasOf(cluster);
  const tags = Object.entries({ [CREATED_BY.key]: CREATED_BY.value, [CLUSTER_TAG]: cluster });
  const input = { Description: 'Encrypts the SCRAM secrets of an MSK cluster', Tags: tags.map(([TagKey, TagValue]) => ({ TagKey, TagValue })) };
  const made = left === undefined ? (await translated(`creating key ${alias}`, () => aws.kms.send(new aws.api.kms.CreateKeyCommand(input)))).KeyMetadata?.KeyId : undefined;
  const named = await unlessThere(`naming key ${alias}`, () => aws.kms.send(new aws.api.kms.CreateAliasCommand({ AliasName: alias, TargetKeyId: left?.id ?? made })));
  if (named !== undefined) return;
  const theirs = await poll({ what: `key ${alias}, which somebody else has made,`, deadlineMs: SEEN_DEADLINE_MS, intervalMs: 500 }, () => findKey(aws, cluster));
  // Somebody may have named the key that was made here: for a moment it looked like one that was left.
  if (made !== undefined && theirs.id !== made) await scheduleDeletion(aws, made);
}

/** Takes the key's alias away and lets AWS delete it; it can be had back for 7 days, AWS deletes no key at once. */
export async function removeKey(aws: Aws, cluster: string, { id }: KeyFound): Promise<void> {
  // The alias first: the next provision must not find a key that is about to go.
  await ifThere('deleting the key alias', () => aws.kms.send(new aws.api.kms.DeleteAliasCommand({ AliasName: keyAliasOf(cluster) })));
  await scheduleDeletion(aws, id);
}

async function scheduleDeletion(aws: Aws, id: string): Promise<void> {
  await ifThere('scheduling the deletion of the key', () => aws.kms.send(new aws.api.kms.ScheduleKeyDeletionCommand({ KeyId: id, PendingWindowInDays: RECOVERY_DAYS })));
}

async function tagsOf(aws: Aws, id: string): Promise<Record<string, string | undefined>> {
  const answer = await translated(`reading the tags of key ${id}`, () => aws.kms.send(new aws.api.kms.ListResourceTagsCommand({ KeyId: id })));
  return Object.fromEntries((answer.Tags ?? []).map(({ TagKey, TagValue }) => [TagKey, TagValue]));
}

function noAccess(error: unknown): undefined {
  if (awsFailure(error, '').code !== 'AWS_ACCESS_DENIED') throw error;
}
