import type { Block } from '../command.ts';
import { fromTo, RISKS, show, worst, type Drift, type Step } from './step.ts';

/** What `plan` and `deploy` show of a plan: each step with each field, its risk and why; then what is left as it is. */
export function planBlocks(steps: readonly Step[], drift: readonly Drift[]): Block[] {
  const rows = steps.flatMap(({ action, thing, name, risk, why, changes }) => {
    const fields = changes.map(({ field, found, wanted }) => ['', `  ${field}`, fromTo(action, found, wanted), '']);
    return [[action, `${thing} ${name}`, why ?? '', risk], ...fields];
  });
  const table: Block[] = rows.length === 0 ? [] : [{ kind: 'table', columns: ['', 'what', 'from -> to', 'risk'], rows }];
  const kept: Block[] = drift.length === 0 ? [] : [{ kind: 'table', title: 'Differs, and stays:', columns: ['what', 'field', 'found', 'wanted', 'who wins'], rows: drift.map((one) => [`${one.thing} ${one.name}`, one.field, show(one.found), show(one.wanted), one.wins]) }];
  return [...table, ...kept];
}

/** `5 steps: 3 to create, 2 to change; the worst risk is safe`. */
export function summary(steps: readonly Step[]): string {
  if (steps.length === 0) return 'Nothing to do: everything is as the bundle says.';
  const counts = (['create', 'change', 'delete', 'restart'] as const).flatMap((action) => {
    const count = steps.filter((step) => step.action === action).length;
    return count === 0 ? [] : [`${count} to ${action}`];
  });
  return `${steps.length} step${steps.length === 1 ? '' : 's'}: ${counts.join(', ')}; the worst risk of ${RISKS.length} is: ${worst(steps.map(({ risk }) => risk))}.`;
}
