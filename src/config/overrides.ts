import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { isRecord, type Problem } from './document.ts';

/** Values of variables beside the bundle, of one target: the Databricks CLI's own file. */
export type Overrides = { where: string; values: Readonly<Record<string, unknown>> };

/** The file's path, relative to the bundle's root. Git ignores it. */
export function overridesFile(target: string): string {
  return join('.databricks', 'bundle', target, 'variable-overrides.json');
}

/** What the file says, one JSON object; empty where there is none. Names that the bundle does not declare are left alone, as the Databricks CLI leaves them. */
export function readOverrides(root: string, target: string, problems: Problem[]): Overrides {
  const where = overridesFile(target);
  const file = join(root, where);
  if (!existsSync(file)) return { where, values: {} };
  try {
    const values: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (isRecord(values)) return { where, values };
    problems.push({ where, message: 'must be one JSON object, {"variable": "value"}' });
  } catch (error) {
    problems.push({ where, message: `cannot be read: ${messageOf(error)}` });
  }
  return { where, values: {} };
}
