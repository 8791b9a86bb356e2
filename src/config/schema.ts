import { z } from 'zod';

const text = z.string().trim().min(1);
const count = z.coerce.number().int().min(1);
const list = z
  .string()
  .transform((value) => value.split(',').map((part) => part.trim()).filter((part) => part !== ''));

/** What a Kafka topic may be called; also what keeps a topic name safe inside SQL and paths. */
const topicName = z.string().regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, 'must be a Kafka topic name: letters, digits, ".", "_", "-", at most 249');
/** Unquoted SQL identifier: names reach SQL text, so nothing that needs quoting is let in. */
const identifier = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, 'must be a plain SQL identifier: letters, digits and "_"');
const fieldName = z.string().min(1).max(255).regex(/^[^\u0000-\u001f`'"\\.[\]$]+$/u, 'must be a JSON field name without quotes, dots, brackets or "$"');

/** A place for files: what Spark can write, or nothing. */
const optionalUri = z.string().trim().regex(/^$|^\/Volumes\/[^/]+\/[^/]+\/[^/]+|^[a-z][a-z0-9+.-]*:\/[^\s{}[\]*?,]+$/, 'must be /Volumes/CATALOG/SCHEMA/VOLUME..., a URI such as s3a://bucket/folder, or empty');

/** The pipeline's settings: one key for each variable of databricks.yml that streamgauge reads, in its units. */
export const settingsSchema = z.object({
  topics: list.pipe(z.array(topicName).min(1)),
  timestamp_field: fieldName,
  value_field: fieldName,
  key_field: fieldName,
  max_future_minutes: z.coerce.number().int().min(0),
  window_minutes: count.refine((m) => 1440 % m === 0 || m % 1440 === 0, 'must divide a day, or be whole days'),
  allowed_lateness_minutes: z.coerce.number().int().min(0),
  late_policy: z.enum(['amend', 'hold']),
  shard_size: count,
  max_offsets_per_trigger: count,
  catalog: identifier,
  schema: identifier,
  checkpoint_root: text,
  secret_scope: z.string().regex(/^[\w.@/-]{1,128}$/, 'must be a secret scope name: letters, digits, "-", "_", "@", ".", "/"'),
  index: z.string().regex(/^(?![-_+.])[a-z0-9._-]{1,255}$/, 'must be an Elasticsearch index name: lower case, not starting with "-", "_", "+" or "."'),
  backup_uri: optionalUri,
  windows_uri: optionalUri,
  aws_region: z.string().trim(),
  cluster_name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/, 'must be an MSK cluster name: letters, digits and "-", at most 64'),
  kafka_auth: z.enum(['scram', 'iam']),
  kafka_version: text,
  broker_count: count,
  broker_instance_type: text,
  broker_storage_gib: count.max(16384),
  subnets: list,
  security_groups: list,
  partitions: count,
  replication_factor: count,
  min_insync_replicas: count,
  retention_hours: count,
  warehouse_id: z.string().trim(),
  prevent_destroy: list.pipe(z.array(z.enum(['topics', 'tables']))),
});

/** The same, with what must hold between them. */
export const pipelineSchema = settingsSchema.superRefine((p, ctx) => {
  if (p.min_insync_replicas > p.replication_factor)
    ctx.addIssue({ code: 'custom', path: ['min_insync_replicas'], message: `must not exceed replication_factor (${p.replication_factor}): no record could be acknowledged` });
  if (p.replication_factor > p.broker_count)
    ctx.addIssue({ code: 'custom', path: ['replication_factor'], message: `must not exceed broker_count (${p.broker_count})` });
});

export type Pipeline = Readonly<z.infer<typeof pipelineSchema>>;
