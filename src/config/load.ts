import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Failure } from '../errors.ts';
import type { Config } from './config.ts';
import { isRecord, readYaml, type Problem, type YamlFile } from './document.ts';
import { elasticsearchAccess, enterTarget, workloadIdentity } from './environment.ts';
import { readJobs } from './jobs.ts';
import { readOverrides } from './overrides.ts';
import { pipelineSchema, settingsSchema, type Pipeline } from './schema.ts';
import { interpolate, resolveVariables, type Lookup, type Variable } from './variables.ts';

export type LoadOptions = {
  /** Folder to look for databricks.yml in, and above. */
  cwd: string;
  target?: string;
  /** `--var name=value` flags. */
  vars: readonly string[];
  /** False for the verbs that make the target's environment themselves. */
  needsEnvironment: boolean;
  /** The only variables that the verb reads: a bundle need not declare any other. All of them where it is left out. */
  reads?: readonly string[];
  environment?: Record<string, string | undefined>;
};

/** Reads databricks.yml, what it includes, the variables and the environment into one frozen Config; throws one Failure naming every problem. */
export function loadConfig(options: LoadOptions): Config {
  const environment = options.environment ?? process.env;
  const file = findBundle(options.cwd);
  const root = dirname(file);
  const problems: Problem[] = [];
  const yaml = readYaml(root, file, problems);
  throwIfAny(problems);
  const bundle = isRecord(yaml.value) ? yaml.value : {};
  const name = bundleName(bundle, yaml, problems);
  const target = chooseTarget(bundle, options.target);
  const entered = enterTarget(root, target, environment);
  const variables = resolveVariables({ file: yaml, bundle, target, flags: options.vars, environment, overrides: readOverrides(root, target, problems) }, problems);
  const texts = Object.fromEntries(Object.entries(variables).map(([key, variable]) => [key, variable.text]));
  const lookup: Lookup = (reference) => {
    if (reference === 'bundle.name') return name;
    if (reference === 'bundle.target') return target;
    const variable = reference.startsWith('var.') ? variables[reference.slice(4)] : undefined;
    return variable?.numeric && /^-?\d{1,15}$/.test(variable.text) ? Number(variable.text) : variable?.text;
  };
  const pipeline = parsePipeline(variables, problems, options.reads);
  const jobs = readJobs(root, yaml, target, lookup, problems);
  throwIfAny(problems);
  if (options.needsEnvironment && texts.environment_file === 'required' && !entered.found) throw noEnvironment(target, entered.file);
  const settings = targetSettings(bundle, target, lookup);
  return deepFreeze({
    bundle: name,
    target,
    mode: settings.mode === 'development' || settings.mode === 'production' ? settings.mode : undefined,
    root,
    variables: texts,
    pipeline: pipeline as Pipeline,
    jobs,
    syncPaths: syncPaths(bundle, target),
    databricks: {
      host: textOr(settings.workspace.host, environment.DATABRICKS_HOST),
      profile: textOr(settings.workspace.profile, undefined),
      rootPath: textOr(settings.workspace.root_path, `/Workspace/Users/\${workspace.current_user.userName}/.bundle/${name}/${target}`) as string,
      httpPath: texts.warehouse_id ? `/sql/1.0/warehouses/${texts.warehouse_id}` : environment.DATABRICKS_HTTP_PATH,
      ...identityFile(environment),
      workloadIdentity: workloadIdentity(environment),
      knownById: settings.mode !== 'development' && !JSON.stringify([settings.workspace, jobs]).includes('${workspace.current_user.short_name}'),
    },
    elasticsearch: elasticsearchAccess(environment),
    awsRegion: texts.aws_region || environment.AWS_REGION || environment.AWS_DEFAULT_REGION,
    platformVariables: Object.fromEntries(Object.entries(environment).flatMap(([key, value]) => (key.startsWith('STREAMGAUGE_') && value !== undefined ? [[key, value]] : []))),
    ci: environment.CI === 'true' || environment.CI === '1',
  });
}

function findBundle(cwd: string): string {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const file = join(folder, 'databricks.yml');
    if (existsSync(file)) return file;
    if (dirname(folder) === folder) {
      throw new Failure({
        code: 'CONFIG_NOT_FOUND',
        kind: 'usage',
        message: `no databricks.yml in ${resolve(cwd)} or above it`,
        hint: 'Change into the folder of the bundle, for example `cd streamgauge`, and run the command again.',
      });
    }
  }
}

function bundleName(bundle: Record<string, unknown>, yaml: YamlFile, problems: Problem[]): string {
  const name = isRecord(bundle.bundle) ? bundle.bundle.name : undefined;
  if (typeof name === 'string' && name !== '') return name;
  problems.push({ where: yaml.where(['bundle', 'name']), message: 'bundle.name is missing' });
  return '';
}

function chooseTarget(bundle: Record<string, unknown>, asked: string | undefined): string {
  const targets = isRecord(bundle.targets) ? bundle.targets : {};
  const names = Object.keys(targets);
  const preset = names.find((name) => isRecord(targets[name]) && targets[name].default === true) ?? (names.length === 1 ? names[0] : undefined);
  const target = asked ?? preset;
  if (target !== undefined && names.includes(target)) return target;
  throw new Failure({
    code: asked === undefined ? 'TARGET_MISSING' : 'TARGET_UNKNOWN',
    kind: 'usage',
    message: asked === undefined ? 'no target was given and databricks.yml marks none as default' : `databricks.yml has no target ${JSON.stringify(asked)}`,
    hint: `Choose one of its targets with -t: ${names.join(', ')}.`,
  });
}

function parsePipeline(variables: Record<string, Variable>, problems: Problem[], reads: readonly string[] = Object.keys(settingsSchema.shape)): Pipeline | undefined {
  const texts = Object.fromEntries(Object.entries(variables).map(([name, variable]) => [name, variable.text]));
  const missing = Object.keys(settingsSchema.shape).filter((name) => !(name in texts) && !reads.includes(name));
  const parsed = (missing.length === 0 ? pipelineSchema : settingsSchema.partial(Object.fromEntries(missing.map((name) => [name, true])) as Record<never, never>)).safeParse(texts);
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0] ?? '');
    const given = variables[name];
    const value = given === undefined ? 'is not declared under variables' : `${issue.message} (got ${JSON.stringify(given.text)})`;
    problems.push({ where: given?.where ?? 'databricks.yml', message: `${name}: ${value}` });
  }
  return parsed.data && (withoutThese(parsed.data, missing) as Pipeline);
}

/** A setting that was not declared, and that nobody should read, says so where somebody does. */
function withoutThese(pipeline: object, missing: readonly string[]): object {
  const get = (name: string) => (): never => {
    throw new Failure({ code: 'VARIABLE_MISSING', kind: 'usage', message: `databricks.yml does not declare the variable ${name}`, hint: `Declare it under variables, with a default.` });
  };
  return Object.defineProperties(pipeline, Object.fromEntries(missing.map((name) => [name, { enumerable: false, get: get(name) }])));
}

function targetSettings(bundle: Record<string, unknown>, target: string, lookup: Lookup) {
  const targets = isRecord(bundle.targets) ? bundle.targets : {};
  const chosen = isRecord(targets[target]) ? targets[target] : {};
  const workspace = { ...(isRecord(bundle.workspace) ? bundle.workspace : {}), ...(isRecord(chosen.workspace) ? chosen.workspace : {}) };
  return { mode: chosen.mode, workspace: interpolate(workspace, lookup) as Record<string, unknown> };
}

/** The bundle's paths, and after them the target's: the bundle's own rule. A file that `include` names must be there, whatever Git ignores. */
function syncPaths(bundle: Record<string, unknown>, target: string): string[] {
  const targets = isRecord(bundle.targets) ? bundle.targets : {};
  const named = (field: 'paths' | 'include'): string[] => {
    const lists = [bundle, targets[target]].map((level) => (isRecord(level) && isRecord(level.sync) ? level.sync[field] : undefined));
    return lists.flatMap((list) => (Array.isArray(list) ? list.filter((path) => typeof path === 'string') : []));
  };
  const paths = named('paths');
  return [...(paths.length > 0 ? paths : ['.']), ...named('include').filter((path) => !/[*?[\]!]/.test(path))];
}

/** In the user's cache; DATABRICKS_CACHE_ENABLED=false, the Databricks CLI's own word for the same, keeps nothing. */
function identityFile({ DATABRICKS_CACHE_ENABLED: enabled, STREAMGAUGE_CACHE: own, XDG_CACHE_HOME: caches, HOME: home }: Record<string, string | undefined>): { identityFile?: string } {
  const folder = own || (caches ? join(caches, 'streamgauge') : home ? join(home, '.cache', 'streamgauge') : undefined);
  return folder === undefined || enabled === 'false' ? {} : { identityFile: join(folder, 'identities.json') };
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

function noEnvironment(target: string, file: string): Failure {
  return new Failure({
    code: 'ENVIRONMENT_MISSING',
    kind: 'usage',
    message: `target ${target} takes its endpoints and credentials from ${file}, which does not exist`,
    hint: `Start what writes it, in another terminal: \`streamgauge local\`.`,
  });
}

function throwIfAny(problems: Problem[]): void {
  if (problems.length === 0) return;
  const lines = problems.map((problem) => `  ${problem.where}: ${problem.message}`);
  throw new Failure({
    code: 'CONFIG_INVALID',
    kind: 'usage',
    message: `the configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${lines.join('\n')}`,
    hint: 'Correct what is named above; `streamgauge COMMAND --help` shows each flag.',
  });
}

function deepFreeze<T>(value: T): T {
  const plain = Array.isArray(value) || (isRecord(value) && Object.getPrototypeOf(value) === Object.prototype);
  if (plain) for (const item of Object.values(Object.freeze(value) as object)) deepFreeze(item);
  return value;
}
