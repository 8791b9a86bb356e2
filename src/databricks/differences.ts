import { CODE_TAG } from './code.ts';

/** One field that is not as it should be; `found` or `wanted` is undefined where only one side has it. */
export type Difference = { field: string; wanted: unknown; found: unknown };

/** It follows the code, and is no setting that a run has to be restarted for: what is planned of it is planned apart. */
const OURS = `tags.${CODE_TAG}`;

/** Lists whose entries are known by a key: their order says nothing. */
const KEYS: Record<string, string> = { tasks: 'task_key', job_clusters: 'job_cluster_key', parameters: 'name', depends_on: 'task_key', environments: 'environment_key' };

/**
 * Fields that the workspace fills in where nobody set them (the Databricks CLI's list, `bundle/direct/dresources/resources.yml`,
 * and `creator`-like echoes): their presence is not a difference, a value that differs from one that was asked for is.
 */
const SERVER_SET = [
  /^format$/,
  /^run_as(\.|$)/,
  /^tasks\[[^\]]*\]\.run_if$/,
  /\.source$/,
  /new_cluster\.(enable_elastic_disk|enable_local_disk_encryption|node_type_id|driver_node_type_id|driver_instance_pool_id|data_security_mode)$/,
  /new_cluster\.(aws|azure|gcp)_attributes(\.|$)/,
];

/** Every field in which `found` is not as `wanted`; empty and server-set values count as unset. Sorted by field. */
export function differences(wanted: unknown, found: unknown): Difference[] {
  const left = flatten(wanted, '');
  const right = flatten(found, '');
  const fields = [...new Set([...left.keys(), ...right.keys()])].sort();
  return fields
    .filter((field) => field !== OURS && left.get(field) !== right.get(field) && (left.has(field) || !SERVER_SET.some((pattern) => pattern.test(field))))
    .map((field) => ({ field, wanted: parse(left.get(field)), found: parse(right.get(field)) }));
}

/** Leaf fields with their JSON; empty ones are left out, entries of keyed lists are named by their key. */
function flatten(value: unknown, path: string): Map<string, string> {
  const fields = new Map<string, string>();
  const add = (part: Map<string, string>): void => part.forEach((json, field) => fields.set(field, json));
  if (Array.isArray(value)) {
    const list = path.slice(path.lastIndexOf('.') + 1);
    const key = KEYS[list];
    value.forEach((item, at) => {
      const name = key !== undefined && isRecord(item) ? String(item[key] ?? at) : String(at);
      add(flatten(item, `${path}[${name}]`));
    });
  } else if (isRecord(value)) {
    for (const [key, item] of Object.entries(value)) add(flatten(item, path === '' ? key : `${path}.${key}`));
  } else if (!isEmpty(value)) fields.set(path, JSON.stringify(value));
  return fields;
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 0 || value === false;
}

function parse(json: string | undefined): unknown {
  return json === undefined ? undefined : JSON.parse(json);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
