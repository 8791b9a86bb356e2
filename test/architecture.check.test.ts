import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const ROOMS = ['msk', 'kafka', 'databricks', 'elasticsearch', 'input'];

/** Who may import what besides its own folder and `node:*`: the table of the design, one row a place. */
const ALLOWED: Record<string, { ours: RegExp; packages: RegExp }> = {
  'cli.ts': { ours: /^(commands|config|report|errors\.ts|arguments\.ts|command\.ts)/, packages: /^$/ },
  'arguments.ts': { ours: /^(errors\.ts|command\.ts|quick\.ts|\.\.\/package\.json)/, packages: /^yargs$/ },
  'quick.ts': { ours: /^$/, packages: /^$/ },
  'start.ts': { ours: /^(quick\.ts|streamgauge\.mjs)$/, packages: /^$/ },
  'errors.ts': { ours: /^$/, packages: /^$/ },
  'poll.ts': { ours: /^errors\.ts$/, packages: /^$/ },
  'command.ts': { ours: /^(config\/config|quick)\.ts$/, packages: /^yargs$/ },
  deployment: { ours: new RegExp(`^(${ROOMS.join('|')}|poll\\.ts|errors\\.ts|command\\.ts|config\\/config\\.ts)`), packages: /^$/ },
  commands: { ours: new RegExp(`^(${ROOMS.join('|')}|deployment|windows|proof|traffic|poll\\.ts|errors\\.ts|command\\.ts|config\\/config\\.ts)`), packages: /^$/ },
  windows: { ours: new RegExp(`^(${ROOMS.join('|')}|poll\\.ts|errors\\.ts|command\\.ts|config\\/config\\.ts)`), packages: /^$/ },
  config: { ours: /^errors\.ts$/, packages: /^(zod|yaml)$/ },
  report: { ours: /^(errors\.ts|command\.ts)$/, packages: /^$/ },
  traffic: { ours: /^$/, packages: /^$/ },
  msk: { ours: /^(traffic|poll\.ts|errors\.ts|config\/config\.ts)/, packages: /^@aws-sdk\// },
  kafka: { ours: /^(traffic|poll\.ts|errors\.ts|config\/config\.ts)/, packages: /^(kafkajs|@platformatic\/kafka|aws-msk-iam-sasl-signer-js)$/ },
  databricks: { ours: /^(traffic|poll\.ts|errors\.ts|config\/config\.ts)/, packages: /^(@databricks\/|apache-arrow(\/|$))/ },
  elasticsearch: { ours: /^(traffic|poll\.ts|errors\.ts|config\/config\.ts)/, packages: /^@elastic\// },
  proof: { ours: new RegExp(`^(${ROOMS.join('|')}|traffic|errors\\.ts)`), packages: /^$/ },
  input: { ours: /^(traffic|poll\.ts|errors\.ts)/, packages: /^csv-parse$/ },
  local: {
    ours: /^(errors|poll|kafka\/connection)\.ts$/,
    packages: /^(zod|hono|@hono\/node-server|@grpc\/|@peculiar\/x509|croner|@smithy\/|@aws-crypto\/|@aws-sdk\/|@platformatic\/kafka|reflect-metadata|@databricks\/sql|thrift|apache-arrow)/,
  },
};

/** Verbs that may reach into the local platform; nothing else knows that it exists. */
const LOCAL_VERBS = ['commands/local.ts', 'commands/demo.ts'];

type Import = { from: string; to: string; line: string };

const sources = globSync('src/**/*.ts', { cwd: root }).sort();
const imports = sources.flatMap((file) => importsOf(file));

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const pattern = /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;
  return [...text.matchAll(pattern)].map((match) => {
    const spec = match[1] ?? match[2] ?? match[3] ?? '';
    const to = spec.startsWith('.') ? relative(join(root, 'src'), join(root, dirname(file), spec)) : spec;
    return { from: relative('src', file), to, line: match[0].trim() };
  });
}

function place(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? file) : file;
}

describe('the import table', () => {
  it('reads every source file and finds imports in them', () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(imports.length).toBeGreaterThan(sources.length);
  });

  it.each(sources.map((file) => relative('src', file)))('%s imports only what its place may', (file) => {
    const rule = ALLOWED[place(file)];
    expect(rule, `no row for ${place(file)}`).toBeDefined();
    const breaches = imports
      .filter((found) => found.from === file && !found.to.startsWith('node:'))
      .filter(({ to, line }) => {
        const isOurs = line.includes("'.");
        if (isOurs && place(to) === place(file) && to.includes('/')) return place(file) === 'commands' ? to !== file : false;
        if (isOurs && place(to) === 'local') return !LOCAL_VERBS.includes(file);
        if (isOurs && to.startsWith('config/config.ts') && !/import\s+type|import\(/.test(line) && file.startsWith('commands/')) return true;
        return !(isOurs ? rule?.ours : rule?.packages)?.test(to);
      })
      .map(({ to }) => to);
    expect(breaches).toEqual([]);
  });
});

it('the local engines know nothing of the façades in front of them', () => {
  const engines = imports.filter(({ from }) => /^local\/(jobs|servers|runtime)\//.test(from));
  expect(engines.filter(({ to }) => to.startsWith('local/facades')).map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

describe('habits', () => {
  const lines = sources.flatMap((file) => readFileSync(join(root, file), 'utf8').split('\n').map((text, at) => ({ file: relative('src', file), at: at + 1, text })));
  const found = (pattern: RegExp, except: RegExp): string[] =>
    lines.filter(({ file, text }) => pattern.test(text) && !except.test(file) && !/^\s*(\*|\/\/|\/\*)/.test(text)).map(({ file, at, text }) => `${file}:${at}: ${text.trim()}`);

  it('only config reads the environment of the process (and cli.ts ends it)', () => {
    expect(found(/process\.env\b/, /^config\//)).toEqual([]);
  });
  it('only cli.ts ends the process, and it and start.ts set the exit code', () => {
    expect(found(/process\.exit\(/, /^$/)).toEqual([expect.stringMatching(/^cli\.ts:\d+: if \(isAstray\) process\.exit\(\);$/)]);
    expect(found(/process\.exitCode/, /^(cli|start)\.ts$/)).toEqual([]);
  });
  it('only poll.ts sleeps', () => {
    expect(found(/timers\/promises/, /^poll\.ts$/)).toEqual([]);
  });
  it('no default exports, no unfinished marks, no fork on the local target', () => {
    expect(found(/^export default|\b(TODO|FIXME|XXX)\b|@ts-(ignore|nocheck)|isLocal/, /^$/)).toEqual([]);
  });
  it('no file is longer than 260 lines', () => {
    const longest = sources.map((file) => [file, readFileSync(join(root, file), 'utf8').split('\n').length] as const).filter(([, length]) => length > 260);
    expect(longest).toEqual([]);
  });
});
