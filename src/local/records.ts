import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Records in memory by their key, each written through to its own JSON file. */
export type Records<K extends string | number, T> = ReadonlyMap<K, T> & { save(record: T): T; drop(key: K): void };

/** Opens, or creates, a folder of records: files of mode 0600, replaced atomically, so kill -9 leaves the old record or the new one. */
export function openRecords<K extends string | number, T>(folder: string, keyOf: (record: T) => K): Records<K, T> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // What an interrupted write left behind.
  for (const name of readdirSync(folder)) if (name.endsWith('.new')) rmSync(join(folder, name), { force: true });
  const kept = readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T);
  const records = new Map(kept.map((record) => [keyOf(record), record] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
  return Object.assign(records, {
    save(record: T) {
      // Synchronous: an answer is given only after its effect is on disk, and two saves cannot overtake each other.
      const temporary = join(folder, `${keyOf(record)}.${randomUUID()}.new`);
      writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 });
      renameSync(temporary, join(folder, `${keyOf(record)}.json`));
      records.set(keyOf(record), record);
      return record;
    },
    drop(key: K) {
      rmSync(join(folder, `${key}.json`), { force: true });
      records.delete(key);
    },
  });
}
