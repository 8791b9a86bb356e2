import { execFileSync } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from './config/bundle.ts';

/** The folder `dist` with the program as a user gets it: built now where the sources are newer. */
export function built(): string {
  const program = join(repository, 'dist/streamgauge.mjs');
  const builtAt = existsSync(program) ? statSync(program).mtimeMs : 0;
  const sources = [...globSync('{src,scripts}/**/*', { cwd: repository }), 'package.json'].map((file) => join(repository, file));
  const isCopied = existsSync(join(repository, 'notebooks/streamgauge.mjs'));
  if (!isCopied || sources.some((file) => statSync(file).mtimeMs > builtAt)) execFileSync(process.execPath, ['scripts/build.ts'], { cwd: repository });
  return join(repository, 'dist');
}
