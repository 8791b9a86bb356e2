import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { idempotencyToken } from './runs.ts';

/** A run that was asked for and whose end nobody has seen yet. */
export type Pending = { key: string; token: string; askedAt: string; /** The process that asked: while it lives, it will see the end itself. */ owner: string; runId?: number };

/** What this folder knows of its submissions; `origin` makes its tokens its own, `number` each of them a new one. */
type Ledger = { version: 1; origin: string; number: number; pending: Pending[]; last: Record<string, number>; /** By run: the newest repair there was when another was asked for, null for none; until its end was seen. */ repairs?: Record<string, number | null> };

/** An old submission that was never seen to its end says nothing about a run that is asked for now. */
const FORGOTTEN_MS = 24 * 3600_000;

/** The ledger's file: `.streamgauge/runs/<target>.json`. */
export function ledgerFile(config: Pick<Config, 'root' | 'target'>): string {
  return join(config.root, '.streamgauge', 'runs', `${config.target}.json`);
}

/**
 * The submission of this job with these parameters: the one that is still open, or a new one, which is on disk when this
 * returns. Its token is a function of the ledger alone, so that whoever was killed asks again for the very same run.
 */
export async function submissionOf(file: string, job: string, parameters: Record<string, string>, nowMs: number = Date.now()): Promise<Pending & { again: boolean }> {
  const ledger = await readLedger(file);
  const key = keyOf(job, parameters);
  const owner = (await processMark(process.pid)) ?? '';
  const recent = ledger.pending.filter(({ askedAt }) => nowMs - Date.parse(askedAt) < FORGOTTEN_MS);
  for (const open of recent) {
    if (open.key !== key || (open.owner !== owner && (await isAlive(open.owner)))) continue;
    await writeLedger(file, { ...ledger, pending: recent.map((other) => (other === open ? { ...open, owner } : other)) });
    return { ...open, again: true };
  }
  const number = ledger.number + 1;
  const submission: Pending = { key, token: idempotencyToken(ledger.origin, String(number), key), askedAt: new Date(nowMs).toISOString(), owner };
  await writeLedger(file, { ...ledger, number, pending: [...recent, submission] });
  return { ...submission, again: false };
}

/** The run that this submission started; from now on `run --retry` means this one. */
export async function started(file: string, job: string, token: string, runId: number): Promise<void> {
  const ledger = await readLedger(file);
  const pending = ledger.pending.map((open) => (open.token === token ? { ...open, runId } : open));
  await writeLedger(file, { ...ledger, pending, last: { ...ledger.last, [job]: runId } });
}

/** Somebody has seen this run's end, or has taken it over: the next submission is another run. */
export async function settled(file: string, runId: number): Promise<void> {
  const ledger = await readLedger(file);
  const pending = ledger.pending.filter((open) => open.runId !== runId);
  const { [runId]: repair, ...repairs } = ledger.repairs ?? {};
  if (pending.length < ledger.pending.length || repair !== undefined) await writeLedger(file, { ...ledger, pending, repairs });
}

/**
 * True where the run has to be repaired, whose newest repair is `latest`: on disk before it is asked for. False where an earlier call asked for
 * it, and was killed: a repair has come since, and its end is this one's.
 */
export async function repairOf(file: string, runId: number, latest: number | undefined): Promise<boolean> {
  const ledger = await readLedger(file);
  const before = ledger.repairs?.[runId];
  if (before !== undefined && before !== (latest ?? null)) return false;
  await writeLedger(file, { ...ledger, repairs: { ...ledger.repairs, [runId]: latest ?? null } });
  return true;
}

/** The run that was started last from this folder, for `run --retry`. */
export async function lastStarted(file: string, job: string): Promise<number | undefined> {
  return (await readLedger(file)).last[job];
}

function keyOf(job: string, parameters: Record<string, string>): string {
  return idempotencyToken(job, ...Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1)).flat()).slice(0, 16);
}

/** A process by its id and, where the system tells it, the time of its start: ids come again. */
async function processMark(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat === undefined ? undefined : `${pid}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}

/** False where that cannot be learned: following one run twice is harmless, two runs are not. */
async function isAlive(owner: string): Promise<boolean> {
  const pid = Number(owner.split(':')[0]);
  return Number.isInteger(pid) && pid > 0 && (await processMark(pid)) === owner;
}

async function readLedger(file: string): Promise<Ledger> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { version: 1, origin: randomUUID(), number: 0, pending: [], last: {} };
    throw unreadable(file, error);
  }
  try {
    const ledger = JSON.parse(text) as Ledger;
    if (ledger.version === 1 && typeof ledger.origin === 'string' && Number.isInteger(ledger.number) && Array.isArray(ledger.pending) && typeof ledger.last === 'object') return ledger;
  } catch (error) {
    throw unreadable(file, error);
  }
  throw unreadable(file, undefined);
}

/** Starting anew in silence could start a second run. */
function unreadable(file: string, cause: unknown): Failure {
  return new Failure({ code: 'RUNS_UNREADABLE', kind: 'usage', message: `${file} holds what was started from here, and cannot be read`, hint: `See what runs (\`streamgauge status\`), then remove it: rm ${file}`, cause });
}

/** Whole or not at all, and on disk before the run is asked for. */
async function writeLedger(file: string, ledger: Ledger): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(`${file}.new`, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(ledger, undefined, 1)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}
