import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { openCredentials } from '../../src/local/credentials.ts';
import { CONTRADICTING, environmentFile, environmentOf } from '../../src/local/environment.ts';
import { layOutPorts } from '../../src/local/ports.ts';
import { readIfThere, writeAtomic } from '../../src/local/state.ts';

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-state-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a state file', () => {
  it('is replaced as a whole, for its owner only, and leaves nothing beside it', async () => {
    const file = join(folder, 'deep', 'state.json');
    expect(await readIfThere(file)).toBeUndefined();
    await Promise.all(['one', 'two', 'three'].map((text) => writeAtomic(file, text)));
    expect(['one', 'two', 'three']).toContain(await readIfThere(file));
    expect(readdirSync(join(folder, 'deep'))).toEqual(['state.json']);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});

describe('credentials', () => {
  it('are made once, in the forms of real ones, and never print', async () => {
    const state = join(folder, 'credentials');
    const [first, second] = [await openCredentials(state), await openCredentials(state)];
    expect(second.databricksToken.reveal()).toBe(first.databricksToken.reveal());
    expect(second.awsAccessKeyId).toBe(first.awsAccessKeyId);
    expect(first.databricksToken.reveal()).toMatch(/^dapi[0-9a-f]{32}$/);
    expect(first.awsAccessKeyId).toMatch(/^AKIA[A-Z2-7]{16}$/);
    expect(first.awsSecretAccessKey.reveal()).toMatch(/^[\w-]{40}$/);
    expect(JSON.stringify(first)).not.toContain(first.sparkToken.reveal());
    expect(statSync(join(state, 'credentials.json')).mode & 0o777).toBe(0o600);
  });
});

describe('the environment', () => {
  const files = { caFile: "/it's here/ca.pem", bundleFile: '/a b/bundle.pem' };

  it('has the names that the clients read, on addresses and not on names', async () => {
    const credentials = await openCredentials(join(folder, 'environment'));
    const environment = environmentOf(layOutPorts({ offset: 1000 }), credentials, files, '/state/local');
    expect(Object.keys(environment).sort()).toEqual(
      [
        'DATABRICKS_HOST DATABRICKS_TOKEN DATABRICKS_HTTP_PATH',
        'AWS_ENDPOINT_URL_KAFKA AWS_ENDPOINT_URL_SECRETS_MANAGER AWS_ENDPOINT_URL_KMS AWS_ENDPOINT_URL_STS',
        'AWS_REGION AWS_DEFAULT_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY',
        'ELASTICSEARCH_URL ELASTICSEARCH_USERNAME ELASTICSEARCH_PASSWORD',
        'NODE_EXTRA_CA_CERTS SSL_CERT_FILE REQUESTS_CA_BUNDLE AWS_CA_BUNDLE BUNDLE_VAR_checkpoint_root',
      ].join(' ').split(' ').sort(),
    );
    expect(environment).toMatchObject({
      DATABRICKS_HOST: 'https://127.0.0.1:9443',
      AWS_ENDPOINT_URL_KAFKA: 'https://127.0.0.1:9444',
      AWS_ENDPOINT_URL_KMS: 'https://127.0.0.1:9445',
      ELASTICSEARCH_URL: 'https://127.0.0.1:10200',
      BUNDLE_VAR_checkpoint_root: 'file:/state/local/volumes/spark_catalog/streamgauge/checkpoints',
    });
    expect(CONTRADICTING.filter((name) => name in environment)).toEqual([]);
    expect(parseEnv(environmentFile(environment))).toEqual(environment);
  });

  it('is read back from its file by Node as it was', () => {
    const odd = { PLAIN: 'a/b:c', SPACE: 'a b', QUOTE: "it's", HASH: 'a#b', EMPTY: '' };
    expect(parseEnv(environmentFile(odd))).toEqual(odd);
  });
});
