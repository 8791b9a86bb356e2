import type { Acl, Admin } from '@platformatic/kafka';
import type { Pipeline } from '../config/config.ts';

type Resource = 'topic' | 'group' | 'cluster' | 'transactional id';
type Operation = 'all' | 'read' | 'write' | 'delete' | 'describe' | 'describe configs' | 'idempotent write';

/** One right of one user, as `kafka-acls --add` would give it: allowed, from any host. */
export type Right = { user: string; resource: Resource; name: string; pattern: 'literal' | 'prefixed'; operation: Operation };

export type AclStep = { do: 'allow'; rights: Right[] };

/** Kafka's name of the one resource of type cluster. */
const CLUSTER = 'kafka-cluster';
/** The consumer groups that Spark's Kafka source makes, and streamgauge's own. */
const GROUP_PREFIXES = ['streamgauge', 'spark-kafka-'];

const RESOURCES = { topic: 2, group: 3, cluster: 4, 'transactional id': 5 } as const;
const OPERATIONS = { all: 2, read: 3, write: 4, delete: 6, describe: 8, 'describe configs': 10, 'idempotent write': 12 } as const;
const PATTERNS = { literal: 3, prefixed: 4 } as const;
const ALLOW = 3;
const ANY = 1;

/**
 * Everything for `admin`, and the least for `pipeline`. MSK lets everybody do everything on a resource that no ACL names: the
 * admin's wildcards are what shuts all others out.
 */
export function wantedRights(pipeline: Pipeline, users: { admin: string; pipeline: string }): Right[] {
  const everything = [
    ['topic', '*'],
    ['group', '*'],
    ['cluster', CLUSTER],
    ['transactional id', '*'],
  ] as const;
  const right = (user: string, resource: Resource, name: string, operation: Operation, pattern: Right['pattern'] = 'literal'): Right => ({ user, resource, name, pattern, operation });
  return [
    ...everything.map(([resource, name]) => right(users.admin, resource, name, 'all')),
    ...pipeline.topics.flatMap((topic) => (['read', 'write', 'describe', 'describe configs'] as const).map((operation) => right(users.pipeline, 'topic', topic, operation))),
    ...(['idempotent write', 'describe'] as const).map((operation) => right(users.pipeline, 'cluster', CLUSTER, operation)),
    ...GROUP_PREFIXES.flatMap((prefix) => (['read', 'describe', 'delete'] as const).map((operation) => right(users.pipeline, 'group', prefix, operation, 'prefixed'))),
  ];
}

/** The rights that these users have now. */
export async function findRights(admin: Admin, users: readonly string[]): Promise<Right[]> {
  const filter = { resourceType: ANY, resourceName: null, resourcePatternType: ANY, principal: null, host: null, operation: ANY, permissionType: ANY } as const;
  const resources = await admin.describeAcls({ filter });
  return resources.flatMap((resource) =>
    resource.acls.flatMap((acl): Right[] => {
      const user = acl.principal.replace(/^User:/, '');
      const right = { resource: named(RESOURCES, resource.resourceType), operation: named(OPERATIONS, acl.operation), pattern: named(PATTERNS, resource.resourcePatternType) };
      if (!users.includes(user) || acl.permissionType !== ALLOW || acl.host !== '*' || !right.resource || !right.operation || !right.pattern) return [];
      return [{ user, name: resource.resourceName, resource: right.resource, pattern: right.pattern, operation: right.operation }];
    }),
  );
}

/** What is missing, in one step: the admin's right to go on must not depend on an order. Rights beyond the wanted stay. Pure. */
export function planRights(wanted: readonly Right[], found: readonly Right[]): AclStep[] {
  const known = new Set(found.map(keyOf));
  const rights = wanted.filter((right) => !known.has(keyOf(right)));
  return rights.length === 0 ? [] : [{ do: 'allow', rights }];
}

/** Gives the step's rights in one request. */
export async function applyAclStep(admin: Admin, { rights }: AclStep): Promise<void> {
  await admin.createAcls({ creations: rights.map(aclOf) });
}

/** Takes every right from these users, in one request: the broker checks the right to do so before it takes any. */
export async function removeRights(admin: Admin, users: readonly string[]): Promise<void> {
  const filters = users.map((user) => ({ resourceType: ANY, resourceName: null, resourcePatternType: ANY, principal: `User:${user}`, host: null, operation: ANY, permissionType: ANY }) as const);
  await admin.deleteAcls({ filters });
}

/** Takes every right on these topics by name from everybody, in one request. */
export async function removeTopicRights(admin: Admin, topics: readonly string[]): Promise<void> {
  const filters = topics.map((resourceName) => ({ resourceType: RESOURCES.topic, resourceName, resourcePatternType: PATTERNS.literal, principal: null, host: null, operation: ANY, permissionType: ANY }) as const);
  await admin.deleteAcls({ filters });
}

function aclOf({ user, resource, name, pattern, operation }: Right): Acl {
  return {
    resourceType: RESOURCES[resource],
    resourceName: name,
    resourcePatternType: PATTERNS[pattern],
    principal: `User:${user}`,
    host: '*',
    operation: OPERATIONS[operation],
    permissionType: ALLOW,
  };
}

function keyOf({ user, resource, name, pattern, operation }: Right): string {
  return JSON.stringify([user, resource, name, pattern, operation]);
}

function named<T extends Record<string, number>>(names: T, value: number): keyof T | undefined {
  return Object.keys(names).find((name) => names[name] === value);
}
