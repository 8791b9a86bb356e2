import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { isMap, isSeq, parseDocument, type Document } from 'yaml';
import type { Command } from '../../src/command.ts';
import { loadConfig } from '../../src/config/load.ts';
import { renderJson } from '../../src/report/json.ts';
import { built } from '../built.ts';
import { checkDocument } from '../documents.ts';
import { repository } from '../config/bundle.ts';

export type Finished = { code: number | null; stdout: string; stderr: string };

export type Project = {
  /** The folder a user would work in: databricks.yml, jobs/, notebooks/, .streamgauge/local.env. */
  folder: string;
  /** Runs `streamgauge ARGS -t local` as a user does: another process, this folder, nothing but the file's environment. */
  cli(args: string[], options?: RunOptions): Promise<Finished>;
  /** The same with `--json`; throws where the exit code is not the expected one, or the document not what scripts were promised. */
  json<T = any>(args: string[], options?: RunOptions & { code?: number }): Promise<T>;
};

export type ProjectOptions = {
  /** The bundle as it is, with the task `export` and the controller that it runs; otherwise without: most scenarios export by hand. */
  exports?: boolean;
};

export type RunOptions = { env?: Record<string, string>; input?: string; onStderr?(text: string, kill: (signal: NodeJS.Signals) => void): void };

/**
 * A user's folder for one scenario, on the shared platform but with names of its own, so that scenarios neither see nor
 * disturb each other. `environment` overrides what the platform gave (a wrong password, a dead port).
 */
export function createProject(name: string, variables: Record<string, string | number> = {}, environment: Record<string, string> = {}, options: ProjectOptions = {}): Project {
  const folder = mkdtempSync(join(tmpdir(), `streamgauge-${name}-`));
  const id = name.replaceAll(/[^a-z0-9]/g, '_');
  const own = {
    topics: `traffic_${id}`,
    schema: `s_${id}`,
    index: `traffic_windows_${id}`,
    secret_scope: `scope_${id}`,
    checkpoint_root: `${(inject('environment') as Record<string, string>).BUNDLE_VAR_checkpoint_root}/${id}`,
    ...variables,
  };
  for (const entry of ['jobs', 'notebooks']) cpSync(join(repository, entry), join(folder, entry), { recursive: true, filter: (path) => !path.endsWith('.mjs') });
  const bundle = readFileSync(join(repository, 'databricks.yml'), 'utf8').replace('name: streamgauge', `name: sg-${name}`);
  writeFileSync(join(folder, 'databricks.yml'), options.exports ? bundle : edited(bundle, (yaml) => yaml.set('sync', { paths: ['notebooks'] })));
  if (options.exports) cpSync(join(built(), 'streamgauge.mjs'), join(folder, 'notebooks/streamgauge.mjs'));
  // Job names are shared by a whole workspace.
  for (const file of readdirSync(join(folder, 'jobs'))) {
    const job = join(folder, 'jobs', file);
    writeFileSync(job, readFileSync(job, 'utf8').replaceAll(/name: (traffic_\w+) \[/g, `name: $1 ${name} [`));
  }
  if (!options.exports) withoutExport(join(folder, 'jobs/traffic_counter.job.yml'));
  mkdirSync(join(folder, '.streamgauge'));
  const given: Record<string, string> = { ...(inject('environment') as Record<string, string>), ...environment };
  for (const [variable, value] of Object.entries(own)) given[`BUNDLE_VAR_${variable}`] = String(value);
  const lines = Object.entries(given).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  writeFileSync(join(folder, '.streamgauge', 'local.env'), `${lines.join('\n')}\n`, { mode: 0o600 });
  // As a user gets it: it also starts in half the time of the sources.
  const program = join(built(), 'start.mjs');
  const cli = (args: string[], run: RunOptions = {}): Promise<Finished> => runCli(folder, [program, ...args, '-t', 'local'], run);
  return {
    folder,
    cli,
    async json(args, { code = 0, ...run } = {}) {
      const finished = await cli([...args, '--json'], run);
      if (finished.code !== code) throw new Error(`streamgauge ${args.join(' ')} ended with ${finished.code}, not ${code}\n${finished.stderr}\n${finished.stdout}`);
      const document = JSON.parse(finished.stdout);
      checkDocument(args[0] ?? '', document);
      return document;
    },
  };
}

function withoutExport(file: string): void {
  const task = (item: unknown): unknown => isMap(item) && item.get('task_key');
  const change = (yaml: Document): void => {
    const tasks = yaml.getIn(['resources', 'jobs', 'traffic_counter', 'tasks']);
    if (isSeq(tasks)) tasks.items = tasks.items.filter((item) => task(item) !== 'export');
  };
  writeFileSync(file, edited(readFileSync(file, 'utf8'), change));
}

function edited(text: string, change: (yaml: Document) => void): string {
  const yaml = parseDocument(text);
  change(yaml);
  return yaml.toString({ lineWidth: 0 });
}

/** A verb without a process of its own, where a scenario needs it many times: what `--json` would print; throws where the exit code is not the expected one. */
export async function inProcess<O, R>(project: Project, command: Command<O, R>, options: O, { code = 0 } = {}): Promise<any> {
  const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
  const silent = { stage: () => undefined, update: () => undefined, note: () => undefined, warn: () => undefined };
  const result = await command.run({ config, progress: silent, signal: new AbortController().signal }, options);
  const exitCode = command.exitCode?.(result) ?? 0;
  if (exitCode !== code) throw new Error(`${command.name} ended with ${exitCode}, not ${code}: ${renderJson(result)}`);
  return JSON.parse(renderJson(result));
}

function runCli(folder: string, args: string[], options: RunOptions): Promise<Finished> {
  const { PATH = '', HOME = '' } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: { PATH, HOME, CI: 'true', ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const finished = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (finished.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      finished.stderr += text;
      options.onStderr?.(finished.stderr, (signal) => child.kill(signal));
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...finished }));
    child.stdin.end(options.input ?? '');
  });
}
