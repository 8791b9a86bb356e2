import type { WorkspaceStep } from '../databricks/deploy.ts';
import type { TableStep } from '../databricks/shapes.ts';
import type { AclStep } from '../kafka/acls.ts';
import type { TopicStep } from '../kafka/topics.ts';
import type { ClusterStep } from '../msk/cluster.ts';
import type { ConfigurationStep } from '../msk/configuration.ts';
import type { LoginStep } from '../msk/logins.ts';
import type { Removal } from './removal-step.ts';

/** What a step can cost, from nothing to what no later step brings back. */
export const RISKS = ['safe', 'restarts stream', 're-reads data', 'loses data', 'irreversible'] as const;
export type Risk = (typeof RISKS)[number];

/** One field that becomes `wanted`; undefined on a side that does not have it. */
export type Change = { field: string; found?: unknown; wanted?: unknown };

/** What carries a step out: the step of one room, as that room planned it. */
export type Work =
  | { room: 'configuration'; step: ConfigurationStep }
  | { room: 'cluster'; step: ClusterStep }
  | { room: 'logins'; step: LoginStep }
  | { room: 'topics'; step: TopicStep }
  | { room: 'rights'; step: AclStep }
  | { room: 'tables'; step: TableStep }
  | { room: 'workspace'; step: WorkspaceStep }
  | { room: 'runs'; step: { do: 'restart run'; runId: number; jobId: number; key: string } }
  | { room: 'index'; step: { do: 'put template'; index: string } }
  | { room: 'removal'; step: Removal };

/** One step of the one plan, as plain JSON: what a person reads (`action thing name`, changes, risk) and what does it. */
export type Step = { action: 'create' | 'change' | 'delete' | 'restart'; thing: string; name: string; risk: Risk; why?: string; changes: Change[]; work: Work };

/** What the plan leaves as it is although it differs, and who wins. */
export type Drift = { thing: string; name: string; field: string; found: unknown; wanted: unknown; wins: string };

/** A step as one line: `change topic t: partitions 2 -> 4 [irreversible]`. */
export function sentence({ action, thing, name, risk, why, changes }: Step): string {
  const fields = changes.map(({ field, found, wanted }) => `${field} ${fromTo(action, found, wanted)}`);
  const details = [...fields, ...(why === undefined ? [] : [why])].join(', ');
  return `${action} ${thing} ${name}${details === '' ? '' : `: ${details}`}${risk === 'safe' ? '' : ` [${risk}]`}`;
}

/** What a field becomes, or had: what is made has no past, what goes no future. */
export function fromTo(action: Step['action'], found: unknown, wanted: unknown): string {
  if (action === 'create') return show(wanted);
  return action === 'delete' ? show(found) : `${show(found)} -> ${show(wanted)}`;
}

/** A field's value as a person reads it. */
export function show(value: unknown): string {
  return value === undefined || value === null ? '(unset)' : typeof value === 'string' ? value || '""' : JSON.stringify(value);
}

/** The worst of these risks; `safe` for none. */
export function worst(risks: readonly Risk[]): Risk {
  return RISKS[Math.max(0, ...risks.map((risk) => RISKS.indexOf(risk)))] ?? 'safe';
}
