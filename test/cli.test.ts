import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bundleFolder, repository } from './config/bundle.ts';

/** Throws as a library's event does, where nobody waits for it, once the program is at work; and something of the program goes on. */
const ASTRAY = `data:text/javascript,${encodeURIComponent(`
  setInterval(() => {}, 1_000_000);
  process.on('newListener', (name) => { if (name === 'uncaughtException') queueMicrotask(() => { throw new Error('astray', { cause: new Error('a socket') }); }); });
`)}`;

it.each([
  [['--json'], 'stdout', { error: { code: 'UNEXPECTED', kind: 'unexpected', message: 'astray', exit_code: 1, causes: ['a socket'] } }],
  [['--events'], 'stderr', { version: 1, verb: 'query', kind: 'end', exit_code: 1, error: { code: 'UNEXPECTED', message: 'astray' } }],
] as const)('an error that nobody waits for ends the process as any other does: %j', (options, stream, document) => {
  const { PATH = '', HOME = '' } = process.env;
  const ended = spawnSync(process.execPath, ['--import', ASTRAY, join(repository, 'src/cli.ts'), 'query', 'SELECT 1', '-t', 'local', ...options], { cwd: bundleFolder(), env: { PATH, HOME, CI: 'true' }, encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' });
  expect(ended.status).toBe(1);
  expect(JSON.parse(ended[stream])).toMatchObject(document);
});
