import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import packageJson from '../package.json' with { type: 'json' };
import { repository } from './config/bundle.ts';

type Job = { permissions?: Record<string, string>; steps: { uses?: string; with?: Record<string, unknown>; run?: string }[] };

/** The inputs of the actions in use that these workflows may name. */
const INPUTS: Record<string, string[]> = {
  'actions/checkout': ['persist-credentials'],
  'actions/setup-node': ['node-version'],
  'aws-actions/configure-aws-credentials': ['role-to-assume', 'aws-region'],
};

const files = globSync('.github/workflows/*.yml', { cwd: repository }).map((file) => [file, readFileSync(join(repository, file), 'utf8')] as const);
const jobs = files.flatMap(([file, text]) => Object.entries((parse(text) as { jobs: Record<string, Job> }).jobs).map(([name, job]) => ({ name: `${file} ${name}`, job })));
const lines = jobs.flatMap(({ name, job }) => job.steps.flatMap(({ run = '' }) => run.split('\n').map((line) => [name, line.trim()] as const)));

describe('the workflows for GitHub', () => {
  it('say only what the command line understands', async () => {
    const said = lines.flatMap(([, line]) => [...line.matchAll(/\bnpx streamgauge ([^>|&;`]+)/g)].map(([, words = '']) => words.trim().split(/\s+/)));
    expect(said.map(([verb]) => verb).sort()).toEqual(['deploy', 'deploy', 'plan', 'plan']);
    for (const argv of said) expect(await parseArguments(argv, VERBS)).toMatchObject({ kind: 'verb', command: { name: argv[0] } });
  });

  it('run only scripts that there are', () => {
    const scripts = lines.flatMap(([, line]) => /^npm (?:run (\S+)|(test))/.exec(line)?.slice(1).filter((name) => name !== undefined) ?? []);
    expect(scripts.length).toBeGreaterThan(0);
    expect(Object.keys(packageJson.scripts)).toEqual(expect.arrayContaining(scripts));
  });

  it('use actions by commit, with inputs that these have', () => {
    for (const { job } of jobs) {
      for (const { uses, with: inputs = {} } of job.steps.filter((step) => step.uses !== undefined)) {
        const [action = '', commit = ''] = (uses ?? '').split('@');
        expect([action, commit]).toEqual([expect.stringMatching(new RegExp(`^(${Object.keys(INPUTS).join('|')})$`)), expect.stringMatching(/^[0-9a-f]{40}$/)]);
        expect(INPUTS[action]).toEqual(expect.arrayContaining(Object.keys(inputs)));
      }
    }
  });

  it('hold no secret, and the identity token is only where it is exchanged', () => {
    for (const [, text] of files) expect(text).not.toMatch(/secrets\./);
    const exchanging = jobs.filter(({ job }) => job.steps.some(({ uses = '', run = '' }) => uses.startsWith('aws-actions/') || run.includes('ACTIONS_ID_TOKEN_REQUEST_TOKEN')));
    expect(exchanging.map(({ name }) => name.split(' ')[1]).sort()).toEqual(['deploy', 'plan']);
    expect(jobs.filter(({ job }) => job.permissions?.['id-token'] === 'write').map(({ name }) => name)).toEqual(exchanging.map(({ name }) => name));
  });
});
