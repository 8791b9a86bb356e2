import { Failure } from '../errors.ts';
import type { Row } from './sql.ts';

/** A Delta table as DESCRIBE TABLE EXTENDED tells it; types as Spark spells them, without spaces. */
export type TableShape = Readonly<{
  columns: Readonly<Record<string, string>>;
  /** Clustering columns, and those of partitions; undefined where the catalog does not say. */
  clusteredBy: readonly string[] | undefined;
  partitionedBy: readonly string[];
  /** Length of its windows, where the table's properties name one. */
  windowMinutes: number | undefined;
  /** Columns that take no null, by the schema or by a CHECK constraint that says the same; undefined where the catalog does not say. */
  notNull: readonly string[] | undefined;
  /** Of columns that should take no null and do: how many rows hold one. */
  nulls: Readonly<Record<string, number>>;
}>;

/** `add columns` takes nothing from the table: what stands there has null in them. `set not null` gives columns back what somebody dropped. */
export type TableStep = { do: 'add columns' | 'set not null'; table: string; columns: { name: string; type: string }[] };

/** A field of a table that stays as it is; null on a side that does not have it. `why` it stays, where that is no matter of taste. */
export type TableDrift = { table: string; field: string; found: string | null; wanted: string | null; why?: string };

type Definition = { columns: Readonly<Record<string, string>>; clusteredBy: readonly string[] };

const STRING = 'string not null';
const BIGINT = 'bigint not null';

/**
 * The tables as the job's first run makes them: notebooks/pipeline/tables.py is where they are defined, and a test compares. A deployment
 * makes none, and gives those that are there what a later release has added.
 */
export const DEFINITIONS: Readonly<Record<'raw' | 'shards' | 'windows' | 'late_records', Definition>> = {
  raw: {
    columns: {
      topic: STRING, partition: 'int not null', offset: BIGINT, broker_timestamp: 'timestamp', record_key: 'binary', payload: 'binary',
      headers: 'array<struct<key:string,value:binary>>', event_time: 'timestamp', key: 'string', value: 'bigint', error: 'string', shard: BIGINT,
    },
    clusteredBy: ['topic', 'event_time'],
  },
  shards: {
    columns: {
      topic: STRING, partition: 'int not null', shard: BIGINT, first_offset: BIGINT, last_offset: BIGINT, records: BIGINT, sealed: 'boolean not null', sha256: STRING,
      gaps: 'array<struct<first_offset:bigint,last_offset:bigint>>',
    },
    clusteredBy: [],
  },
  windows: {
    columns: {
      topic: STRING, key: STRING, window_start: 'timestamp not null', window_end: 'timestamp not null', count: BIGINT, sum: 'decimal(38,0) not null', mean: 'double not null',
      median: 'decimal(20,1) not null', stddev_samp: 'double', min: BIGINT, max: BIGINT, revision: BIGINT, closed_by: STRING,
      first_offsets: 'map<int,bigint> not null', last_offsets: 'map<int,bigint> not null', sequence: BIGINT,
    },
    clusteredBy: ['topic', 'window_start'],
  },
  late_records: {
    columns: {
      topic: STRING, partition: 'int not null', offset: BIGINT, key: STRING, window_start: 'timestamp not null', event_time: 'timestamp not null',
      broker_timestamp: 'timestamp', value: BIGINT, lateness_seconds: 'double not null', revision: 'bigint',
    },
    clusteredBy: [],
  },
};

const NOT_NULL = ' not null';

/** Columns of a table in which every row must have a value. */
export function requiredColumns(table: string): string[] {
  const { columns } = DEFINITIONS[table as keyof typeof DEFINITIONS];
  return Object.keys(columns).filter((name) => columns[name]?.endsWith(NOT_NULL));
}

/** The rows of DESCRIBE TABLE EXTENDED, which tell no NOT NULL, understood; `notNull` are the columns that have one, where the catalog says. */
export function shapeOf(rows: readonly Row[], notNull?: readonly string[]): TableShape {
  const sections: Record<string, string[][]> = {};
  let section = 'columns';
  for (const { col_name: name, data_type: type } of rows) {
    const [given, told] = [String(name ?? ''), String(type ?? '')];
    if (given.startsWith('# col_name') || given === '') continue;
    if (given.startsWith('# ')) section = given.slice(2);
    else (sections[section] ??= []).push([given, told]);
  }
  const namesIn = (title: string): string[] => (sections[title] ?? []).map(([name = '']) => name.toLowerCase());
  const details = Object.fromEntries(sections['Detailed Table Information'] ?? []) as Record<string, string>;
  const properties = details['Table Properties'] ?? '';
  const clustering = /clusteringColumns=(\[\[.*?\]\]|\[\])/.exec(properties)?.[1];
  const told = clustering === undefined ? undefined : (JSON.parse(clustering) as string[][]).map((path) => path.join('.').toLowerCase());
  const minutes = /streamgauge\.window_minutes=(\d+)/.exec(properties)?.[1];
  return {
    columns: Object.fromEntries((sections.columns ?? []).map(([name = '', type = '']) => [name.toLowerCase(), plain(type)])),
    clusteredBy: sections['Clustering Information'] === undefined ? told : namesIn('Clustering Information'),
    // Clustered tables are told as partitioned by nothing.
    partitionedBy: namesIn('Partition Information').filter((name) => name !== 'not partitioned'),
    windowMinutes: minutes === undefined ? undefined : Number(minutes),
    notNull: notNull && [...notNull, ...constraintsIn(properties)].map((name) => name.toLowerCase()).sort(),
    nulls: {},
  };
}

/** Columns of CHECK constraints that are nothing but `column IS NOT NULL`. */
function constraintsIn(properties: string): string[] {
  return [...properties.matchAll(/delta\.constraints\.[^=,]+=`?(\w+)`? IS NOT NULL(?=[,\]])/gi)].map(([, column = '']) => column);
}

function plain(type: string): string {
  return type.toLowerCase().replaceAll(/\s/g, '');
}

/** Columns that a release has added since the tables were made, and those that lost their NOT NULL; a Failure where one cannot be added, or has another type. Pure. */
export function planTables(found: Readonly<Record<string, TableShape>>): TableStep[] {
  return definitionsOf(found).flatMap(({ table, definition, shape }) => {
    const missing = Object.entries(definition.columns).flatMap(([name, declared]) => {
      const [there, type] = [shape.columns[name], declared.replace(NOT_NULL, '')];
      if (there === undefined && declared !== type) throw columnMissing(table, name);
      if (there !== undefined && there !== type) throw typeChanged(table, name, there, type);
      return there === undefined ? [{ name, type }] : [];
    });
    const lost = lostNotNull(table, shape).filter((name) => !shape.nulls[name]).map((name) => ({ name, type: shape.columns[name] ?? '' }));
    const step = (what: TableStep['do'], columns: TableStep['columns']): TableStep[] => (columns.length === 0 ? [] : [{ do: what, table, columns }]);
    return [...step('add columns', missing), ...step('set not null', lost)];
  });
}

/** Columns that should take no null and do; none where the catalog does not say. */
export function lostNotNull(table: string, { columns, notNull }: TableShape): string[] {
  return notNull === undefined ? [] : requiredColumns(table).filter((name) => columns[name] !== undefined && !notNull.includes(name));
}

/**
 * What differs and stays: columns of others, and how files lie, which changes no result; a NOT NULL that rows stand against. A catalog that does not
 * say how files lie has nothing that differs; one that does not say which columns take null is named, because it hides a difference.
 */
export function tableDrift(found: Readonly<Record<string, TableShape>>): TableDrift[] {
  return definitionsOf(found).flatMap(({ table, definition, shape }) => {
    const others = Object.entries(shape.columns).flatMap(([name, type]) => (name in definition.columns ? [] : [{ table, field: `column ${name}`, found: type, wanted: null }]));
    const list = (names: readonly string[]): string | null => (names.length === 0 ? null : names.join(', '));
    const layout = [
      { table, field: 'clustered by', found: list(shape.clusteredBy ?? definition.clusteredBy), wanted: list(definition.clusteredBy) },
      { table, field: 'partitioned by', found: list(shape.partitionedBy), wanted: null },
    ];
    const against = lostNotNull(table, shape).filter((name) => shape.nulls[name]).map((name) => ({
      table, field: `column ${name}`, found: shape.columns[name] ?? null, wanted: definition.columns[name] ?? null,
      why: `NOT NULL is refused while ${shape.nulls[name]} of its rows hold null: \`streamgauge query "SELECT * FROM ${table} WHERE ${name} IS NULL"\``,
    }));
    const untold = shape.notNull === undefined ? [{ table, field: 'NOT NULL', found: null, wanted: list(requiredColumns(table)), why: 'this catalog does not tell which columns take null' }] : [];
    return [...others, ...layout.filter((one) => one.found !== one.wanted), ...against, ...untold];
  });
}

function definitionsOf(found: Readonly<Record<string, TableShape>>) {
  return Object.entries(DEFINITIONS).flatMap(([table, definition]) => (found[table] === undefined ? [] : [{ table, definition, shape: found[table] }]));
}

function typeChanged(table: string, name: string, there: string, wanted: string): Failure {
  return new Failure({
    code: 'COLUMN_TYPE_CHANGED',
    kind: 'usage',
    message: `column ${name} of table ${table} is ${there}, and the job writes ${wanted}: Delta changes no type under data that is there without rewriting it`,
    hint: other(table),
  });
}

function columnMissing(table: string, name: string): Failure {
  return new Failure({ code: 'COLUMN_MISSING', kind: 'usage', message: `table ${table} has no column ${name}, which every row must have: adding it would leave those that are there without`, hint: other(table) });
}

function other(table: string): string {
  return `Name a schema that is free: --var schema=NAME --var checkpoint_root=FOLDER (the job reads everything again); or bring back the table as it was: \`streamgauge query "DESCRIBE HISTORY ${table}"\`, then RESTORE TABLE.`;
}
