import type { KafkaClient } from '@aws-sdk/client-kafka';
import type { KMSClient } from '@aws-sdk/client-kms';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { Failure } from '../errors.ts';

/** The AWS SDK's clients and their commands, loaded when first needed. */
export type Aws = {
  region: string;
  msk: KafkaClient;
  kms: KMSClient;
  secrets: SecretsManagerClient;
  /** The commands of each: some names exist in all three. */
  api: { msk: typeof import('@aws-sdk/client-kafka'); kms: typeof import('@aws-sdk/client-kms'); secrets: typeof import('@aws-sdk/client-secrets-manager') };
};

/** Tags of everything that provision creates; what carries none of them was there before, and stays. */
export const CREATED_BY = { key: 'created-by', value: 'streamgauge' } as const;

/** Clients for a region (undefined: the default chain's); endpoints and credentials are the chain's own. Asks nothing of AWS yet. */
export async function connectAws(region: string | undefined): Promise<Aws> {
  const [msk, kms, secrets] = await Promise.all([import('@aws-sdk/client-kafka'), import('@aws-sdk/client-kms'), import('@aws-sdk/client-secrets-manager')]);
  const options = { ...(region && { region }), maxAttempts: 4, requestHandler: { connectionTimeout: 5_000, requestTimeout: 30_000, throwOnRequestTimeout: true } };
  const client = new msk.KafkaClient(options);
  try {
    const found = await client.config.region();
    return { region: found, msk: client, kms: new kms.KMSClient(options), secrets: new secrets.SecretsManagerClient(options), api: { msk, kms, secrets } };
  } catch (cause) {
    throw new Failure({ code: 'AWS_REGION_MISSING', kind: 'usage', message: 'no AWS region is set', hint: 'Name it: --var aws_region=eu-central-1, or export AWS_REGION=eu-central-1', cause });
  }
}
