import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectAws, type Aws } from '../../src/msk/clients.ts';
import { createKey, strayKey } from '../../src/msk/keys.ts';

type Key = { id: string; alias?: string; tags?: Record<string, string> | 'closed'; state?: string };
type Operation = 'ListAliases' | 'ListKeys' | 'ListResourceTags' | 'DescribeKey' | 'CreateKey' | 'CreateAlias' | 'ScheduleKeyDeletion';

const ours = { 'created-by': 'streamgauge', 'streamgauge-cluster': 'c' };
let server: Server;
let aws: Aws;
let effects: [Operation, Record<string, unknown>][] = [];
const before = { ...process.env };

/** KMS with these keys, one a page; `closed` to whoever asks for tags; `named`: the key that somebody else gives the cluster's alias. */
function kms(keys: readonly Key[], mayList = true, named?: string): void {
  const denied: [number, object] = [400, { __type: 'AccessDeniedException', message: 'not authorized' }];
  const page = (given: string | undefined): { entry: Key | undefined; more: object } => ({ entry: keys[Number(given ?? 0)], more: Number(given ?? 0) + 1 < keys.length ? { Truncated: true, NextMarker: String(Number(given ?? 0) + 1) } : { Truncated: false } });
  const answer: Record<Operation, (body: any) => [number, object]> = {
    ListAliases: () => [200, { Aliases: keys.flatMap(({ id, alias }) => (alias === undefined ? [] : [{ AliasName: alias, TargetKeyId: id }])), Truncated: false }],
    ListKeys({ Marker }) {
      const { entry, more } = page(Marker);
      return mayList ? [200, { Keys: entry === undefined ? [] : [{ KeyId: entry.id, KeyArn: `arn:${entry.id}` }], ...more }] : denied;
    },
    ListResourceTags({ KeyId }) {
      const { tags = {} } = keys.find(({ id }) => id === KeyId) ?? {};
      return tags === 'closed' ? denied : [200, { Tags: Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })), Truncated: false }];
    },
    DescribeKey: ({ KeyId: id }) => [200, { KeyMetadata: { KeyId: id === 'alias/c-streamgauge' ? named : id, Arn: `arn:${id}`, KeyState: keys.find((key) => key.id === id)?.state ?? 'Enabled' } }],
    CreateKey: () => [200, { KeyMetadata: { KeyId: 'new' } }],
    CreateAlias: () => (named === undefined ? [200, {}] : [400, { __type: 'AlreadyExistsException', message: 'An alias with the name exists' }]),
    ScheduleKeyDeletion: () => [200, {}],
  };
  server.removeAllListeners('request').on('request', async (request, response) => {
    const operation = String(request.headers['x-amz-target']).replace('TrentService.', '') as Operation;
    const body = JSON.parse(await text(request)) as Record<string, unknown>;
    if (/^(Create|Schedule)/.test(operation)) effects.push([operation, body]);
    const [status, document] = answer[operation](body);
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(document));
  });
}

beforeAll(async () => {
  server = createServer();
  await new Promise<void>((listening) => void server.listen(0, '127.0.0.1', listening));
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIATEST', AWS_SECRET_ACCESS_KEY: 'secret', AWS_EC2_METADATA_DISABLED: 'true', AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  aws = await connectAws('eu-central-1');
});
beforeEach(() => void (effects = []));
afterAll(() => {
  server.close();
  aws.kms.destroy();
  process.env = { ...before };
});

describe('the key of a cluster', () => {
  const others: Key[] = [
    { id: 'named', alias: 'alias/other', tags: ours },
    { id: 'closed', tags: 'closed' },
    { id: 'going', tags: ours, state: 'PendingDeletion' },
    { id: 'of another cluster', tags: { ...ours, 'streamgauge-cluster': 'd' } },
    { id: 'of somebody else', tags: { 'streamgauge-cluster': 'c' } },
  ];

  it('is made with tags that tell whose it is, and named', async () => {
    kms(others);
    expect(await strayKey(aws, 'c')).toBeUndefined();
    await createKey(aws, 'c');
    expect(effects).toEqual([
      ['CreateKey', { Description: expect.any(String), Tags: Object.entries(ours).map(([TagKey, TagValue]) => ({ TagKey, TagValue })) }],
      ['CreateAlias', { AliasName: 'alias/c-streamgauge', TargetKeyId: 'new' }],
    ]);
  });

  it('is the one that a killed controller left without its name, where there is one', async () => {
    kms([...others, { id: 'left', tags: ours }]);
    expect(await strayKey(aws, 'c')).toEqual({ id: 'left', arn: 'arn:left', ours: true });
    await createKey(aws, 'c');
    expect(effects).toEqual([['CreateAlias', { AliasName: 'alias/c-streamgauge', TargetKeyId: 'left' }]]);
  });

  it.each<[string, string, Operation[]]>([
    ['is another that somebody gave the name meanwhile: its own goes', 'theirs', ['CreateKey', 'CreateAlias', 'ScheduleKeyDeletion']],
    ['is its own where somebody gave that one the name', 'new', ['CreateKey', 'CreateAlias']],
  ])('%s', async (_what, named, operations) => {
    kms(others, true, named);
    await createKey(aws, 'c');
    expect(effects.map(([operation]) => operation)).toEqual(operations);
    expect(effects[2]?.[1]).toEqual(named === 'theirs' ? { KeyId: 'new', PendingWindowInDays: 7 } : undefined);
  });

  it('is made by whoever may not look at others', async () => {
    kms([{ id: 'left', tags: ours }], false);
    await createKey(aws, 'c');
    expect(effects.map(([operation]) => operation)).toEqual(['CreateKey', 'CreateAlias']);
  });
});
