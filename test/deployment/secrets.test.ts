import { describe, expect, it } from 'vitest';
import { plan, type Found } from '../../src/databricks/deploy.ts';
import { MADE_KEY, fingerprintKey } from '../../src/databricks/scope.ts';
import { EMPTY_STATE } from '../../src/databricks/state.ts';
import { scopeOf } from '../../src/deployment/observe.ts';
import { Secret } from '../../src/errors.ts';
import { place } from './model.ts';

const elasticsearch = { url: 'https://e:9200', auth: { username: 'u', password: new Secret('p') } };
const kafka = { bootstrap_servers: new Secret('b:9096'), username: new Secret('u'), password: new Secret('q') };
const config = (auth: 'scram' | 'iam', task: string) => ({ pipeline: { kafka_auth: auth, secret_scope: 'k' }, jobs: [{ key: 'j', file: 'j.yml', settings: { tasks: [{ task_key: task }] } }], elasticsearch }) as unknown as Parameters<typeof scopeOf>[0];
const steps = (given: ReturnType<typeof scopeOf>, secrets: Found['secrets']) =>
  plan({ who: { userName: 'a' }, place, files: [], jobs: [], scope: { name: 'k', ...given } }, { state: EMPTY_STATE, tree: [{ path: `${place.files}/n`, object_type: 'DIRECTORY' }], alike: {}, jobs: {}, staleJobs: [], jobsApart: false, secrets });

describe('the secret scope of a deployment that makes the brokers, too', () => {
  it.each([
    ['scram', 'export', ['bootstrap_servers', 'elasticsearch_password', 'elasticsearch_url', 'elasticsearch_username', 'password', 'username']],
    ['iam', 'export', ['bootstrap_servers', 'elasticsearch_password', 'elasticsearch_url', 'elasticsearch_username']],
    ['scram', 'ingest', ['bootstrap_servers', 'password', 'username']],
  ] as const)('%s, task %s: the plan names every key that is wanted afterwards, and then nothing is left to put', (auth, task, keys) => {
    const before = scopeOf(config(auth, task), undefined);
    const [, put] = steps(before, undefined);
    expect(put).toMatchObject({ do: 'put secrets', keys, reason: expect.stringContaining('once the brokers') });
    const after = scopeOf(config(auth, task), auth === 'iam' ? { bootstrap_servers: kafka.bootstrap_servers } : kafka);
    const written = put?.do === 'put secrets' ? [MADE_KEY, ...put.keys, fingerprintKey(after.secrets)] : [];
    expect(steps(after, written.map((key) => ({ key, last_updated_timestamp: 1 })))).toEqual([]);
  });
});
