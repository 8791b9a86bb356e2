import type { Secret } from '../errors.ts';

/** Where the brokers are and who is asking: TLS always, authenticated by SCRAM-SHA-512 or by AWS IAM (a signed OAUTHBEARER token). */
export type KafkaAccess = Readonly<{
  /** Bootstrap brokers, each `host:port`. */
  brokers: readonly string[];
  sasl: Readonly<{ mechanism: 'scram-sha-512'; username: string; password: Secret } | { mechanism: 'iam'; region: string }>;
}>;
