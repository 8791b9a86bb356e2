import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Step } from '../../src/deployment/step.ts';
import type { Project } from './project.ts';

const killer = new URL('killer.mjs', import.meta.url).pathname;

type Kind = Step['work']['step']['do'];

/** What a step does outside: a kind of step that is missing here does not compile, and one whose effect is never seen fails. */
const EFFECTS: Record<Kind, RegExp> = {
  'write configuration': /AWS (POST|PUT) \/v1\/configurations/,
  'configure cluster': /AWS PUT .*\/configuration$/,
  'create cluster': /AWS POST .*\/clusters$/,
  'create key': /AWS CreateKey/,
  'create secret': /AWS CreateSecret/,
  'restore secret': /AWS RestoreSecret/,
  'associate secrets': /AWS POST .*\/scram-secrets/,
  'create topic': /Kafka CreateTopics/,
  'grow topic': /Kafka CreatePartitions/,
  'configure topic': /Kafka IncrementalAlterConfigs/,
  allow: /Kafka CreateAcls/,
  // Over Thrift, which is not looked into: no bundle of these scenarios has tables.
  'add columns': /$^/,
  'set not null': /$^/,
  'make folder': /Databricks POST .*\/mkdirs/,
  upload: /Databricks POST .*\/(workspace\/import|import-file\/.*files\/)/,
  delete: /Databricks POST .*\/workspace\/delete/,
  'create secret scope': /Databricks POST .*\/scopes\/create/,
  'put secrets': /Databricks POST .*\/secrets\/put/,
  'create job': /Databricks POST .*\/jobs\/create/,
  'update job': /Databricks POST .*\/jobs\/reset/,
  'tag job': /Databricks POST .*\/jobs\/update/,
  'delete job': /Databricks POST .*\/jobs\/delete/,
  'restart run': /Databricks POST .*\/jobs\/run-now/,
  'put template': /Elasticsearch PUT \/_index_template/,
  'remove deployed': /Databricks POST .*\/(jobs|workspace|scopes|secrets)\/delete/,
  'drop table': /Databricks POST .*\/statements/,
  'remove checkpoints': /Databricks POST .*\/runs\/submit/,
  'delete index': /Elasticsearch DELETE \/[^_]/,
  'delete template': /Elasticsearch DELETE \/_index_template/,
  'delete topic': /Kafka DeleteTopics/,
  'forget topic': /AWS DELETE \/v1\/tags/,
  'take rights': /Kafka DeleteAcls/,
  'delete secret': /AWS DeleteSecret/,
  'delete key': /AWS ScheduleKeyDeletion/,
  'delete cluster': /AWS DELETE .*\/clusters/,
  'delete configuration': /AWS DELETE .*\/configurations/,
};

/** Runs a verb undisturbed; returns its effects in order. Every step that it plans must be among them, or the list would be a guess. */
export async function effectsOf(project: Project, args: string[]): Promise<{ effects: string[]; steps: Step[] }> {
  const { effects, document: { steps } } = await seen<{ steps: Step[] }>(project, args);
  const unseen = steps.filter(({ work }) => !effects.some((effect) => EFFECTS[work.step.do].test(effect)));
  expect(unseen.map(({ work }) => work.step.do)).toEqual([]);
  return { effects, steps };
}

/** Runs a verb undisturbed; returns its effects in order, and what it says. */
export async function seen<T = unknown>(project: Project, args: string[]): Promise<{ effects: string[]; document: T }> {
  const log = join(mkdtempSync(join(tmpdir(), 'effects-')), 'log');
  const document = await project.json<T>(args, { env: { NODE_OPTIONS: `--import ${killer}`, KILL_LOG: log } });
  return { effects: readFileSync(log, 'utf8').trimEnd().split('\n'), document };
}

/** For one call: killed after its nth effect, or after the first that matches. */
export function killedAfter(effect: number | RegExp): { env: Record<string, string> } {
  return { env: { NODE_OPTIONS: `--import ${killer}`, ...(typeof effect === 'number' ? { KILL_AFTER: String(effect) } : { KILL_AT: effect.source }) } };
}

type Kills = { verb: string[]; again: string[]; reset(): Promise<unknown>; world(): Promise<unknown>; /** Only these effects; all of them where it is left out. */ which?: RegExp };

/** Kills the verb after each of its effects, calls it again, and expects each time the world that the undisturbed one made. */
export async function survivesKills(project: Project, { verb, again, reset, world, which = /./ }: Kills): Promise<string[]> {
  await reset();
  const { effects } = await effectsOf(project, verb);
  const undisturbed = await world();
  const [came, wanted]: [unknown[], unknown[]] = [[], []];
  for (const [at, effect] of effects.entries()) {
    if (!which.test(effect)) continue;
    await reset();
    const killed = await project.cli(verb, killedAfter(at + 1));
    await project.json(again);
    came.push({ effect, killed: killed.code, world: await world() });
    wanted.push({ effect, killed: null, world: undisturbed });
  }
  expect(came).toEqual(wanted);
  return effects;
}
