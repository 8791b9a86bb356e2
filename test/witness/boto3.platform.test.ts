import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, inject, it } from 'vitest';

/** What a function of boto.py returns. The engines' own Python has boto3: moto needs it. */
async function witness(name: string): Promise<any> {
  const { python } = inject('platform').runtime;
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', PYTHONDONTWRITEBYTECODE: '1', ...inject('environment') };
  const { stdout } = await promisify(execFile)(python, ['-c', `import json, boto; print(json.dumps(boto.${name}()))`], { cwd: import.meta.dirname, env });
  return JSON.parse(stdout);
}

it('boto3: a cluster from creation to deletion, its secrets item by item', { timeout: 300_000 }, async () => {
  const { bootstrap, password, ...facts } = await witness('cluster');
  expect(bootstrap).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(password).toHaveLength(8);
  expect(facts).toEqual({
    states: ['CREATING', 'ACTIVE'],
    listed: ['boto3-witness'],
    tags: { team: 'traffic' },
    v1: 1,
    properties: 'num.partitions=2\n',
    configurations: [],
    unprocessed: [1, 2],
    associated: true,
    again: ['ConflictException', 409],
    absent: ['NotFoundException', 404],
    left: [],
    deleted: 'DELETING',
    gone: ['NotFoundException', 404],
  });
});

it('boto3: a stranger is turned away by every service', async () => {
  expect(await witness('stranger')).toEqual({
    kafka: ['UnrecognizedClientException', 403],
    secretsmanager: ['UnrecognizedClientException', 403],
    kms: ['UnrecognizedClientException', 403],
    sts: ['InvalidClientTokenId', 403],
  });
});
