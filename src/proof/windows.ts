import { windowLedger, type Period, type Proof } from '../databricks/proof.ts';
import type { Row } from '../databricks/sql.ts';
import { expectedWindow, windowOutcomes, type WindowPlace, type WindowValues } from '../databricks/window-outcomes.ts';
import { note, type Differences } from './difference.ts';

export type WindowsProof = {
  /** Published windows, and those that have not closed yet. */
  windows: bigint;
  waitingWindows: bigint;
  revised: bigint;
  /** Good records = counted + held + waiting, exactly; the totals are the exact sums of their values. */
  counted: bigint;
  total: string;
  held: bigint;
  waiting: bigint;
  /** What the published windows say together. */
  publishedRecords: bigint;
  publishedTotal: string;
};

/** Every published window against its rows in `raw`; the records of those that are not closed yet are counted apart. */
export async function proveWindows(proof: Proof, period: Period, differences: Differences): Promise<WindowsProof> {
  const outcomes = await windowOutcomes(proof, period);
  const ledger = await windowLedger(proof, period);
  const sum = (column: string, of = outcomes): bigint => of.reduce((total, row) => total + BigInt(String(row[column] ?? 0)), 0n);
  const waiting = outcomes.filter(({ outcome }) => outcome === 'waiting');
  const closed = outcomes.filter(({ outcome }) => outcome !== 'waiting');
  for (const row of closed.filter(({ outcome }) => outcome !== 'same').toSorted(byStart)) await noteOutcome(proof, differences, row);
  for (const { problem, topic, detail } of ledger.problems) note(differences, { stage: 'windows', topic: String(topic), message: `${String(problem)}: ${String(detail)}` });
  return {
    windows: sum('windows', closed.filter(({ outcome }) => outcome !== 'missing')),
    waitingWindows: sum('windows', waiting),
    revised: ledger.revised,
    counted: sum('records', closed),
    total: String(sum('total', closed)),
    held: ledger.held,
    waiting: sum('records', waiting) + sum('late_waiting'),
    publishedRecords: sum('published_records'),
    publishedTotal: String(sum('published_total')),
  };
}

type Example = WindowPlace & { window_start: string; found: string };

function byStart(a: Row, b: Row): number {
  const [left, right] = [(a.example as Example).window_start, (b.example as Example).window_start];
  return left < right ? -1 : Number(left > right);
}

async function noteOutcome(proof: Proof, differences: Differences, row: Row): Promise<void> {
  const example = row.example as Example;
  const { topic, key, window_start: windowStart } = example;
  const place = `window ${windowStart} of ${topic}${key === '' ? '' : ` key ${JSON.stringify(key)}`}`;
  const outcome = String(row.outcome);
  const published = JSON.parse(example.found) as WindowValues;
  // Only the first difference is told in full.
  const computed = differences.first === null && outcome !== 'unfounded' ? await expectedWindow(proof, example) : {};
  const base = { stage: 'windows', topic, key, windowStart } as const;
  if (outcome === 'missing') note(differences, { ...base, message: `${place} is not published, and raw has ${String(computed.count)} records of it` });
  else if (outcome === 'unfounded') note(differences, { ...base, message: `${place} is published with ${String(published.count)} records, and raw has none of it` });
  else {
    const [was, is] = [published[outcome], computed[outcome]];
    note(differences, { ...base, field: outcome, expected: is, found: was, message: `${place}: ${outcome} is ${text(was)}, and raw gives ${text(is)}` });
  }
  differences.count += Number(row.windows) - 1;
}

function text(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
