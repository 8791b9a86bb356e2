import { describe, expect, it } from 'vitest';
import { createProject } from './project.ts';

// What a user meets when something is wrong around the verbs: a clear error, a hint with a command, an exit code by kind.
const WRONG: [what: string, args: string[], environment: Record<string, string>, exit: number, says: RegExp][] = [
  ['a wrong AWS secret key', ['provision'], { AWS_SECRET_ACCESS_KEY: 'wrong' }, 3, /AWS|MSK/],
  ['an unknown AWS access key', ['provision'], { AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN000000000' }, 3, /AWS|MSK/],
  ['MSK down', ['provision'], { AWS_ENDPOINT_URL_KAFKA: 'https://localhost:1' }, 4, /AWS: .*ECONNREFUSED[\s\S]*AWS_ENDPOINT_URL/],
  ['a wrong Databricks token', ['deploy'], { DATABRICKS_TOKEN: 'wrong' }, 3, /token|DATABRICKS/i],
  ['a wrong Databricks token for SQL', ['query', 'SELECT 1'], { DATABRICKS_TOKEN: 'wrong' }, 3, /token|DATABRICKS/i],
  ['the workspace down', ['deploy'], { DATABRICKS_HOST: 'https://localhost:1' }, 4, /localhost:1/],
  ['the warehouse down', ['query', 'SELECT 1'], { DATABRICKS_HOST: 'https://localhost:1' }, 4, /localhost:1/],
  ['a wrong Elasticsearch password', ['provision'], { ELASTICSEARCH_PASSWORD: 'wrong' }, 3, /Elasticsearch/],
  ['Elasticsearch down', ['provision'], { ELASTICSEARCH_URL: 'https://localhost:1' }, 4, /localhost:1/],
  ['no Elasticsearch at all', ['provision'], { ELASTICSEARCH_URL: '' }, 2, /ELASTICSEARCH_URL/],
];

describe('wrong surroundings', () => {
  it.each(WRONG)('%s', async (_what, args, environment, exit, says) => {
    const finished = await createProject('errors', {}, environment).cli(args);
    expect(finished.stderr).toMatch(/^error: /m);
    expect(finished.stderr).toMatch(/^hint: .+/m);
    expect(finished.stderr).toMatch(says);
    expect(finished.stderr).not.toMatch(/^\s+at /m);
    expect(finished.code).toBe(exit);
    expect(finished.stdout).toBe('');
  });

  it('a missing token', async () => {
    const finished = await createProject('errors', {}, { DATABRICKS_TOKEN: '' }).cli(['deploy']);
    expect([finished.code, finished.stderr]).toEqual([3, expect.stringMatching(/hint: .+/)]);
  });

  it('a Node.js that is too old', async () => {
    const project = createProject('errors');
    const env = { NODE_OPTIONS: `--import data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})` };
    expect(await project.cli(['plan'], { env })).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^error: .* 22\.22 .* 20\.20\.2\nhint: .*npx streamgauge/) });
  });

  it('with --json there is one JSON document on stdout', async () => {
    const finished = await createProject('errors').cli(['query', 'SELECT nothing FROM nowhere', '--json']);
    expect(finished.code).toBe(2);
    expect(JSON.parse(finished.stdout)).toMatchObject({ error: { kind: 'usage', exit_code: 2, message: expect.stringContaining('nowhere') } });
  });

  it('a topic that is not there: Kafka does not say to a user without rights whether it exists', async () => {
    const project = createProject('errors');
    await project.json(['provision']);
    const finished = await project.cli(['produce', '--records', '10', '--var', 'topics=never_made']);
    expect([finished.code, finished.stderr]).toEqual([3, expect.stringMatching(/never_made[\s\S]*hint: .*streamgauge provision/)]);
  });

  it('a job that is not deployed', async () => {
    const finished = await createProject('never-deployed').cli(['run']);
    expect([finished.code, finished.stderr]).toEqual([expect.any(Number), expect.stringMatching(/hint: .*streamgauge deploy/)]);
    expect(finished.code).not.toBe(0);
  });

  it.each([
    [['status', '-t', 'nowhere'], /no target "nowhere"|given more than once/],
    [['run', '--var', 'schema=a; DROP TABLE raw'], /plain SQL identifier/],
    [['run', '--var', 'nonsense=1'], /unknown variable nonsense/],
    [['produce', '--file', '/does/not/exist'], /\/does\/not\/exist/],
    [['produce', '--records', 'many'], /--records must be a number/],
    [['fly'], /fly/],
  ])('usage: %j', async (args, says) => {
    const finished = await createProject('errors').cli(args);
    expect([finished.code, finished.stderr]).toEqual([2, expect.stringMatching(says)]);
  });
});
