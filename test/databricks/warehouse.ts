import type { Row, Sql } from '../../src/databricks/sql.ts';

/** A warehouse of versions and properties: every write is a version. `meanwhile` happens after each statement that changes something. */
export function warehouse(versions: Record<string, number>, properties: Record<string, Record<string, string>> = {}, meanwhile: () => void = () => undefined): Sql & { said: string[] } {
  const said: string[] = [];
  const answer = (statement: string): Row[] => {
    const table = /`(\w+)`(?!\.)/.exec(statement.replace(/^.*?(TABLE|TBLPROPERTIES|HISTORY|OVERWRITE|FROM)/, ''))?.[1] ?? '';
    if (statement.startsWith('DESCRIBE HISTORY')) return [{ version: BigInt(versions[table] ?? 0) }];
    if (statement.startsWith('SHOW TBLPROPERTIES')) return Object.entries(properties[table] ?? {}).map(([key, value]) => ({ key, value }));
    if (statement.startsWith('SELECT count(*)')) return [{ records: BigInt(versions[`${table} rows`] ?? 0) }];
    said.push(statement);
    versions[table] = (versions[table] ?? 0) + 1;
    const set = /SET TBLPROPERTIES \('([^']+)' = '(.*)'\)$/.exec(statement);
    const unset = /UNSET TBLPROPERTIES IF EXISTS \('([^']+)'\)$/.exec(statement);
    if (unset) delete properties[table]?.[unset[1] as string];
    else if (set) properties[table] = { ...properties[table], [set[1] as string]: set[2] as string };
    meanwhile();
    return [];
  };
  return {
    said,
    execute: () => Promise.reject(new Error('not asked for')),
    async *rows(statement) {
      yield* answer(statement);
    },
    notNullColumns: () => Promise.reject(new Error('not asked for')),
    close: async () => undefined,
  };
}
