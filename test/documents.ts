import { z } from 'zod';

// What scripts may rely on (README, "For scripts"): the document of each verb with `--json`, its errors, its events. Fields may be added;
// one that is named here stays. Every result of every scenario is held against this (acceptance/project.ts).
const count = z.number().int().nonnegative();
const time = z.string().regex(/^\d{4}-\d\d-\d\dT/);
const orNull = <T extends z.ZodType>(type: T) => z.union([type, z.null()]);

const risk = z.enum(['safe', 'restarts stream', 're-reads data', 'loses data', 'irreversible']);
const change = z.strictObject({ field: z.string(), found: z.unknown().optional(), wanted: z.unknown().optional() });
export const step = z.looseObject({
  action: z.enum(['create', 'change', 'delete', 'restart']),
  thing: z.string(),
  name: z.string(),
  risk,
  why: z.string().optional(),
  changes: z.array(change),
  work: z.looseObject({ room: z.string(), step: z.looseObject({ do: z.string() }) }),
});
const drift = z.looseObject({ thing: z.string(), name: z.string(), field: z.string(), found: z.unknown(), wanted: z.unknown(), wins: z.string() });
const kept = z.array(z.looseObject({ thing: z.string(), name: z.string() }));
const plan = { changed: z.boolean(), risk, steps: z.array(step) };

const task = z.looseObject({ task: z.string(), runId: count, state: z.string(), attempt: count, seconds: z.number() });
const run = z.looseObject({ asked: z.enum(['run', 'cancel', 'status', 'detach']), job: orNull(z.string()), runId: count, reattached: z.boolean(), tasks: z.array(task) });
const ended = run.extend({ seconds: z.number(), outcome: z.looseObject({ ok: z.boolean(), state: z.string(), meaning: z.string(), exitCode: count }) });
const goingOn = run.extend({ state: z.string() });

const partition = z.looseObject({ topic: z.string(), partition: count, start: count, end: count, raw: count, records: count, bad: count, lag: z.number().int() });
const status = z.looseObject({
  partitions: orNull(z.array(partition)),
  lag: orNull(z.number().int()),
  job: orNull(z.looseObject({ name: z.string(), id: count, lastRun: orNull(z.looseObject({ id: count, state: z.string(), startedAt: orNull(time), seconds: z.number() })) })),
  windows: orNull(count),
  revisedWindows: orNull(count),
  newestWindowEnd: orNull(z.string()),
  documents: orNull(count),
  newestDocumentEnd: orNull(z.string()),
  freshnessSeconds: orNull(z.number()),
  problems: z.array(z.looseObject({ system: z.string(), code: z.string(), message: z.string(), exitCode: count })),
});

const row = z.looseObject({});
const backup = z.discriminatedUnion('did', [
  z.looseObject({ did: z.literal('backup'), backup: z.looseObject({ skipped: z.boolean(), uri: z.string().optional(), written: count.optional(), adopted: count.optional(), records: count.optional(), conflict: z.string().optional() }) }),
  z.looseObject({ did: z.literal('verify'), verified: z.looseObject({ uri: z.string(), objects: count, records: count, not_backed_up: count, problem_count: count, problems: z.array(z.looseObject({ topic: z.string(), partition: count, shard: count, problem: z.string() })) }) }),
  z.looseObject({ did: z.literal('drill'), drilled: z.looseObject({ ok: z.boolean(), refused: orNull(z.string()), compared: orNull(z.looseObject({ records: count, different_records: count, rpo_seconds: z.number() })), rtoSeconds: z.number(), stages: z.array(z.looseObject({ name: z.string(), seconds: z.number() })) }) }),
]);
const position = z.looseObject({ topic: z.string(), partition: count, offset: count });
const quarantine = z.discriminatedUnion('action', [
  z.looseObject({ action: z.literal('list'), reasons: z.array(row), records: z.array(row) }),
  z.looseObject({ action: z.literal('show'), record: row, payloadText: orNull(z.string()) }),
  z.looseObject({ action: z.literal('replay'), original: position, reason: z.string(), replay: z.looseObject({ partition: count, offset: count }), found: z.boolean() }),
]);
const explained = z.looseObject({
  id: z.string(),
  window: z.looseObject({ topic: z.string(), key: z.string(), window_start: z.string(), revision: count }),
  tables: z.record(z.string(), count),
  shards: z.array(row),
  late: z.array(row),
  revisions: z.array(z.looseObject({ run: orNull(z.looseObject({ id: count, startedAt: z.string(), url: orNull(z.string()) })) })),
  document: orNull(z.looseObject({ id: z.string(), seqNo: count, version: count })),
  recomputed: orNull(z.array(z.looseObject({ field: z.string(), typescript: orNull(z.string()), spark: orNull(z.string()), elasticsearch: orNull(z.string()), same: z.boolean() }))),
});

/** By verb: every one that ends with a document. */
export const DOCUMENTS: Record<string, z.ZodType> = {
  plan: z.looseObject({ ...plan, drift: z.array(drift), tables: orNull(z.array(z.string())), saved: orNull(z.string()), kept: kept.optional() }),
  deploy: z.looseObject({ ...plan, dryRun: z.boolean(), workspace: z.string(), folder: z.string(), jobs: z.array(z.looseObject({ key: z.string(), name: z.string(), id: orNull(count) })), drift: z.array(drift), restarted: z.array(count) }),
  provision: z.looseObject({ ...plan, dryRun: z.boolean(), drift: z.array(drift), cluster: orNull(z.looseObject({ name: z.string(), arn: z.string(), state: z.string(), brokers: z.array(z.string()), auth: z.enum(['scram', 'iam']) })) }),
  destroy: z.looseObject({ ...plan, dryRun: z.boolean(), kept }),
  rollback: z.looseObject({ to: count, changed: z.boolean(), dryRun: z.boolean(), steps: z.array(step) }),
  history: z.looseObject({ folder: z.string(), deployments: z.array(z.looseObject({ number: count, at: time, by: z.string(), what: z.array(z.string()), files: count })) }),
  import: z.looseObject({ thing: z.enum(['job', 'topic', 'index', 'secret scope']), name: z.string(), was: z.string() }),
  run: z.union([ended, goingOn]),
  status,
  export: z.looseObject({ index: z.string(), read: count, written: count, unchanged: count, rejectedCount: count, rejected: z.array(z.looseObject({})), cursor: z.looseObject({ from: count, to: count }), bytes: count, seconds: z.number(), interrupted: z.boolean() }),
  query: z.looseObject({ columns: z.array(z.looseObject({ name: z.string(), type: z.string() })), rows: z.array(z.array(z.unknown())) }),
  produce: z.looseObject({ topic: z.string(), records: count, bytes: count, skipped: z.looseObject({ count, reasons: z.record(z.string(), count), first: z.array(row) }), bad: z.record(z.string(), count), partitions: z.array(z.looseObject({ partition: count, records: count, firstOffset: count, lastOffset: count })), seconds: z.number(), interrupted: z.boolean() }),
  windows: z.looseObject({ did: z.enum(['rebuild', 'rollback', 'finish']), swapped: z.boolean(), dryRun: z.boolean(), minutes: count, compared: orNull(row), index: orNull(z.string()), seconds: z.number() }),
  backup,
  restore: z.looseObject({ backup: z.string(), to: z.union([z.looseObject({ topic: z.string() }), z.looseObject({ table: z.string() })]), topic: z.string(), shards: count, records: count, thereBefore: count, seconds: z.number() }),
  explain: explained,
  quarantine,
  prove: z.looseObject({ proved: z.boolean(), madeAt: time, target: z.string(), partitions: z.array(z.looseObject({})), equations: z.array(z.looseObject({ says: z.string(), left: z.number(), right: z.number(), holds: z.boolean() })), differences: z.array(z.looseObject({ more: count })), seconds: z.number(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
};

const failure = z.looseObject({ code: z.string().regex(/^[A-Z][A-Z0-9_]*$/), kind: z.string(), message: z.string(), hint: z.string().optional(), exit_code: count, causes: z.array(z.string()) });
export const ERROR = z.strictObject({ error: failure });

const said = { version: z.literal(1), at: z.iso.datetime(), verb: z.string() };
export const EVENT = z.discriminatedUnion('kind', [
  z.strictObject({ ...said, kind: z.enum(['stage', 'update', 'note', 'warning']), text: z.string() }),
  z.strictObject({ ...said, kind: z.literal('end'), exit_code: count, error: failure.optional() }),
]);

/** Throws where this document is not what was promised for the verb. */
export function checkDocument(verb: string, document: unknown): void {
  const isError = typeof document === 'object' && document !== null && 'error' in document;
  const parsed = (isError ? ERROR : DOCUMENTS[verb])?.safeParse(document);
  if (parsed?.success === false) throw new Error(`the JSON of ${verb} is not as promised: ${z.prettifyError(parsed.error)}`);
}
