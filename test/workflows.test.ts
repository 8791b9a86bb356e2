import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import { isWorkloadIdentity } from '../src/databricks/workload-identity.ts';
import packageJson from '../package.json' with { type: 'json' };
import { repository } from './config/bundle.ts';

type Job = { permissions?: Record<string, string>; if?: string; needs?: string; environment?: string; steps: { name?: string; if?: string; uses?: string; with?: Record<string, unknown>; run?: string; env?: Record<string, string> }[] };

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

  describe('the one that deploys', () => {
    const text = readFileSync(join(repository, '.github/workflows/deploy.yml'), 'utf8');
    const workflow = parse(text) as { on: { pull_request: unknown; push: { branches: string[] } }; concurrency: Record<string, string>; defaults: unknown; permissions: Record<string, string>; jobs: Record<'validate' | 'plan' | 'deploy', Job> };
    const { validate, plan, deploy } = workflow.jobs;
    const said = (job: Job): string => job.steps.map(({ run = '' }) => run).join('\n');

    it('validates on pull requests and on main; plans for a pull request of this repository, and deploys on main, each after that', () => {
      expect([Object.keys(workflow.on).sort(), workflow.on.push.branches]).toEqual([['pull_request', 'push'], ['main']]);
      expect(validate.if).toBeUndefined();
      expect(said(validate)).toMatch(/npm run check[^]*npm test/);
      expect([plan.needs, plan.if]).toEqual(['validate', "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name == github.repository"]);
      expect([deploy.needs, deploy.if]).toEqual(['validate', "github.event_name == 'push'"]);
      const both = plan.steps.find(({ run = '' }) => run.includes('npx streamgauge'))?.run ?? '';
      expect(both).toMatch(/^if \[ "\$GITHUB_EVENT_NAME" = push \]; then\n\s+npx streamgauge deploy -t prod --yes\nelse\n\s+npx streamgauge plan -t prod > plan\.txt\n/);
    });

    it('deploys one after the other, and no pull request stands in that queue; a failure inside a pipe is one', () => {
      // github.ref is refs/heads/main of a push, refs/pull/N/merge of a pull request.
      expect(workflow.concurrency).toEqual({ group: 'deploy-${{ github.ref }}', 'cancel-in-progress': "${{ github.event_name == 'pull_request' }}" });
      for (const job of [validate, plan, deploy]) expect(job).not.toHaveProperty('concurrency');
      expect(workflow.defaults).toEqual({ run: { shell: 'bash' } });
    });

    it('puts the plan into a comment, on pull requests only, and what a pull request names into no shell', () => {
      const comment = plan.steps.find(({ run = '' }) => run.includes('gh pr comment'));
      expect([comment?.if, comment?.run]).toEqual(["github.event_name == 'pull_request'", expect.stringMatching(/plan\.txt[^]*gh pr comment "\$NUMBER".*--body-file comment\.md --edit-last --create-if-none/)]);
      expect(plan.permissions).toEqual({ contents: 'read', 'id-token': 'write', 'pull-requests': 'write' });
      expect([workflow.permissions, deploy.permissions]).toEqual([{ contents: 'read' }, { contents: 'read', 'id-token': 'write' }]);
      for (const { run = '' } of [...plan.steps, ...deploy.steps]) expect(run).not.toContain('${{');
    });

    it('is somebody by exchange alone: no value that is stored is a secret, none is masked by hope', () => {
      for (const job of [plan, deploy]) {
        expect(job.environment).toBe('prod');
        const given = job.steps.flatMap(({ env = {}, with: inputs = {} }) => Object.entries({ ...env, ...inputs }) as [string, unknown][]);
        const filled = given.map(([, value]) => String(value)).filter((value) => value.includes('${{'));
        expect(filled.filter((value) => !/^\$\{\{ (vars\.\w+|github\.(token|repository|event\.pull_request\.number)) \}\}$/.test(value))).toEqual([]);
        expect(given.filter(([name]) => /TOKEN$|PASSWORD|SECRET$|API_KEY|ACCESS_KEY/.test(name))).toEqual(job.steps.some(({ run = '' }) => run.includes('gh pr comment')) ? [['GH_TOKEN', '${{ github.token }}']] : []);
        const streamgauge = job.steps.find(({ run = '' }) => run.includes('npx streamgauge'))?.env ?? {};
        expect(isWorkloadIdentity(streamgauge.DATABRICKS_AUTH_TYPE)).toBe(true);
        expect(streamgauge).toMatchObject({ DATABRICKS_AUTH_TYPE: 'github-oidc', DATABRICKS_CLIENT_ID: '${{ vars.DATABRICKS_CLIENT_ID }}' });
        // What is read from Secrets Manager is masked before it stands anywhere.
        expect(said(job)).toMatch(/key=\$\(aws secretsmanager get-secret-value[^\n]*\n\s*echo "::add-mask::\$key"\n/);
      }
    });
  });
});
