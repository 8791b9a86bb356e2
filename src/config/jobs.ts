import { globSync } from 'node:fs';
import { join } from 'node:path';
import { isRecord, readYaml, type Problem, type YamlFile } from './document.ts';
import type { BundleJob } from './config.ts';
import { interpolate, type Lookup } from './variables.ts';

/** Lists inside a job that a target overrides entry by entry, and the field that names an entry. */
const KEYED_LISTS: Record<string, string> = { tasks: 'task_key', job_clusters: 'job_cluster_key', parameters: 'name', environments: 'environment_key' };

/** Every job under `resources.jobs`, in databricks.yml and in the files it includes, with the target's overrides applied. */
export function readJobs(
  root: string,
  bundle: YamlFile,
  target: string,
  lookup: Lookup,
  problems: Problem[],
): BundleJob[] {
  const included = includePatterns(bundle).flatMap((pattern) => globSync(pattern, { cwd: root }).sort());
  const files = [bundle, ...included.map((file) => readYaml(root, join(root, file), problems))];
  return files.flatMap((file) =>
    Object.entries(jobsUnder(file.value)).map(([key, defined]) => {
      const overrides = files.map((other) => jobsUnder(at(other.value, 'targets', target))[key]);
      const merged = overrides.reduce<unknown>((settings, override) => merge(settings, override), defined);
      const settings = textDefaults(interpolate(merged, lookup));
      reportUnknown(settings, file, key, problems);
      if (!isRecord(settings)) problems.push({ where: file.where(['resources', 'jobs', key]), message: `job ${key} must be a mapping` });
      return { key, file: file.name, settings: isRecord(settings) ? settings : {} };
    }),
  );
}

function includePatterns(bundle: YamlFile): string[] {
  const include = at(bundle.value, 'include');
  return Array.isArray(include) ? include.filter((pattern) => typeof pattern === 'string') : [];
}

function at(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((node, key) => (isRecord(node) ? node[key] : undefined), value);
}

function jobsUnder(value: unknown): Record<string, unknown> {
  const jobs = at(value, 'resources', 'jobs');
  return isRecord(jobs) ? jobs : {};
}

/** Mappings merge, keyed lists merge entry by entry, anything else is replaced: the bundle's own rule. */
function merge(base: unknown, override: unknown, key = ''): unknown {
  if (override === undefined) return base;
  if (isRecord(base) && isRecord(override)) {
    const keys = new Set([...Object.keys(base), ...Object.keys(override)]);
    return Object.fromEntries([...keys].map((name) => [name, merge(base[name], override[name], name)]));
  }
  const id = KEYED_LISTS[key];
  if (id === undefined || !Array.isArray(base) || !Array.isArray(override)) return override;
  const rest = override.filter((item) => !base.some((known) => at(known, id) === at(item, id)));
  return [...base.map((item) => merge(item, override.find((other) => at(other, id) === at(item, id)))), ...rest];
}

/** The Jobs API takes job parameters as text only; the bundle turns numbers into text there, and so must this. */
function textDefaults(settings: unknown): unknown {
  if (!isRecord(settings) || !Array.isArray(settings.parameters)) return settings;
  const parameters = settings.parameters.map((given) => (isRecord(given) && 'default' in given ? { ...given, default: String(given.default) } : given));
  return { ...settings, parameters };
}

function reportUnknown(settings: unknown, file: YamlFile, key: string, problems: Problem[]): void {
  for (const [, name] of JSON.stringify(settings ?? null).matchAll(/\$\{var\.([^}]+)\}/g)) {
    problems.push({ where: file.where(['resources', 'jobs', key]), message: `job ${key} refers to \${var.${name}}, which databricks.yml does not declare` });
  }
}
