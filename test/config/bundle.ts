import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** The product's own bundle as it stands, with what was built into it, copied into a folder that exists. */
export function copyBundle(folder: string): void {
  for (const entry of ['databricks.yml', 'jobs', 'notebooks']) cpSync(join(repository, entry), join(folder, entry), { recursive: true });
}

/** A folder with a copy of the product's own bundle, changed by `edit`, and whatever other files a test needs. */
export function bundleFolder(edit: (databricksYml: string) => string = (text) => text, files: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-bundle-'));
  const own = {
    'databricks.yml': edit(readFileSync(join(repository, 'databricks.yml'), 'utf8')),
    'jobs/traffic_counter.job.yml': readFileSync(join(repository, 'jobs/traffic_counter.job.yml'), 'utf8'),
  };
  for (const [name, text] of Object.entries({ ...own, ...files })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
