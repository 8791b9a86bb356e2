import { CODE_TAG } from '../databricks/code.ts';
import type { WorkspaceStep } from '../databricks/deploy.ts';
import type { Difference } from '../databricks/differences.ts';
import type { TableStep } from '../databricks/shapes.ts';
import type { TopicStep } from '../kafka/topics.ts';
import type { Observed } from './plan.ts';
import type { Change, Risk, Step, Work } from './step.ts';

/** Job parameters with which a stream begins anew, and those with which what stands in Delta is computed again. */
const NEW_STREAM = ['topics', 'catalog', 'schema', 'checkpoint_root'];
const RECOMPUTED = ['shard_size'];

type Broker = Extract<Work, { room: 'configuration' | 'cluster' | 'logins' | 'topics' | 'rights' }>;

/** A step of MSK or Kafka with its risk. */
export function brokerStep(work: Broker): Step {
  const created = (thing: string, name: string, fields: Record<string, unknown> = {}): Step => ({ action: 'create', thing, name, risk: 'safe', changes: Object.entries(fields).map(([field, wanted]) => ({ field, wanted })), work });
  switch (work.room) {
    case 'configuration': {
      const { step } = work;
      if (step.do === 'write configuration') return created('configuration', step.name, step.properties);
      const changes = step.changes.map(({ name: field, from, to }) => ({ field, found: from ?? undefined, wanted: to }));
      return { action: 'change', thing: 'cluster', name: step.name, risk: 'restarts stream', why: 'its brokers restart, one after the other', changes, work };
    }
    case 'cluster': {
      const { name, brokers, instanceType, kafkaVersion } = work.step;
      return { ...created('cluster', name, { brokers, instanceType, kafkaVersion }), why: 'costs money from its creation on' };
    }
    case 'logins': {
      const { step } = work;
      if (step.do === 'create key') return created('key', step.alias);
      if (step.do === 'associate secrets') return created('association', step.names.join(', '));
      return created('secret', step.name, { user: step.username });
    }
    case 'topics':
      return topicStep(work.step, work);
    case 'rights':
      return created('rights', [...new Set(work.step.rights.map(({ user }) => user))].join(', '), { count: work.step.rights.length });
  }
}

function topicStep(step: TopicStep, work: Work): Step {
  const { name } = step;
  if (step.do === 'create topic') {
    const fields = { partitions: step.partitions, 'replication factor': step.replicationFactor, ...step.configs };
    return { action: 'create', thing: 'topic', name, risk: 'safe', changes: Object.entries(fields).map(([field, wanted]) => ({ field, wanted })), work };
  }
  if (step.do === 'grow topic') {
    return { action: 'change', thing: 'topic', name, risk: 'irreversible', why: 'partitions cannot be taken away again, and keys move to other partitions', changes: [{ field: 'partitions', found: step.from, wanted: step.to }], work };
  }
  const changes = step.changes.map(({ name: field, from, to }) => ({ field, found: from, wanted: to }));
  const shorter = step.changes.some((change) => change.name === 'retention.ms' && change.from !== null && forever(change.to) < forever(change.from));
  return { action: 'change', thing: 'topic', name, changes, work, ...(shorter ? { risk: 'loses data', why: 'the broker drops records older than that, read or not' } : { risk: 'safe' }) };
}

/** -1 means that records are kept for ever. */
function forever(retentionMs: string): number {
  return retentionMs === '-1' ? Number.POSITIVE_INFINITY : Number(retentionMs);
}

/** A column more, with null in the rows that are there; or a NOT NULL again, which they all keep to. */
export function tableStep(step: TableStep): Step {
  const isNew = step.do === 'add columns';
  const changes = step.columns.map(({ name, type }) => ({ field: `column ${name}`, found: isNew ? undefined : type, wanted: isNew ? type : `${type} not null` }));
  return { action: 'change', thing: 'table', name: step.table, risk: 'safe', why: isNew ? 'what stands there keeps null in it' : 'no row holds null there', changes, work: { room: 'tables', step } };
}

/** A step of the workspace with its risk; what re-reads data does so only where there is data. */
export function workspaceStep(step: WorkspaceStep, found: Pick<Observed, 'tables' | 'shapes'>): Step {
  const work: Work = { room: 'workspace', step };
  const of = (action: Step['action'], thing: string, name: string, more: Partial<Step> = {}): Step => ({ action, thing, name, risk: 'safe', changes: [], work, ...more });
  switch (step.do) {
    case 'make folder':
      return of('create', 'folder', step.path);
    case 'upload':
      return of(step.reason === 'new' ? 'create' : 'change', step.type === 'NOTEBOOK' ? 'notebook' : 'file', step.path, { why: step.reason });
    case 'delete':
      return of('delete', 'object', step.path, { why: step.reason });
    case 'create secret scope':
      return of('create', 'secret scope', step.scope);
    case 'put secrets':
      return of('change', 'secrets', step.scope, { why: step.reason, changes: step.keys.map((field) => ({ field, wanted: '[REDACTED]' })) });
    case 'create job':
      return of('create', 'job', step.name);
    case 'update job':
      return of('change', 'job', step.name, { changes: changesOf(step.changes), ...jobRisk(step.changes, found) });
    case 'tag job':
      return of('change', 'job', step.name, { why: 'the mark of what it executes was taken away or changed', changes: [{ field: `tags.${CODE_TAG}`, found: step.found, wanted: step.wanted }] });
    case 'delete job':
      return of('delete', 'job', step.name, { risk: 'irreversible', why: 'no longer in the bundle; the history of its runs goes with it' });
  }
}

function jobRisk(changes: readonly Difference[], { tables, shapes }: Pick<Observed, 'tables' | 'shapes'>): { risk: Risk; why?: string } {
  const touches = (names: readonly string[]): string | undefined => names.find((name) => changes.some(({ field }) => field.startsWith(`parameters[${name}].`)));
  const [anew, again] = [touches(NEW_STREAM), touches(RECOMPUTED)];
  const length = changes.find(({ field }) => field === 'parameters[window_minutes].default');
  // Nothing was read yet: there is nothing to read again. Where nobody could ask, the worse is assumed.
  if (tables?.length === 0) return { risk: 'safe' };
  if (anew !== undefined) return { risk: 're-reads data', why: `with another ${anew} the stream starts from the beginning of what the broker keeps` };
  if (length !== undefined && String(length.wanted) !== String(shapes.windows?.windowMinutes)) return { risk: 're-reads data', why: anotherLength(String(length.wanted)) };
  if (again !== undefined) return { risk: 're-reads data', why: `with another ${again} everything in raw is computed again` };
  return { risk: 'safe' };
}

/** What a change of `window_minutes` means where there are windows: no checkpoint depends on it, the table does. */
function anotherLength(minutes: string): string {
  return `the table windows keeps its length, and the job refuses to mix two, until \`streamgauge windows rebuild --window ${minutes}m\` has computed them anew`;
}

/** Cancelling a run loses nothing (each stream goes on from its checkpoint), but it takes its time anew. */
export function restartStep({ runId, jobId, key }: { runId: number; jobId: number; key: string }): Step {
  return { action: 'restart', thing: 'run', name: String(runId), risk: 'restarts stream', why: `job ${key} runs with other code or settings than are deployed`, changes: [], work: { room: 'runs', step: { do: 'restart run', runId, jobId, key } } };
}

/** The index template; an index that exists keeps the mapping it was made with. */
export function indexStep(index: string, isNew: boolean, changes: readonly Difference[]): Step {
  return { action: isNew ? 'create' : 'change', thing: 'index template', name: index, risk: 'safe', changes: isNew ? [] : changesOf(changes), work: { room: 'index', step: { do: 'put template', index } } };
}

function changesOf(changes: readonly Difference[]): Change[] {
  return changes.map(({ field, found, wanted }) => ({ field, found, wanted }));
}
