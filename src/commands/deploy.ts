import type { Command } from '../command.ts';
import { apply } from '../databricks/apply.ts';
import { connect } from '../databricks/client.ts';
import { observe, plan, wantedDeployment, warningsOf, type Step } from '../databricks/deploy.ts';
import type { Secret } from '../errors.ts';
import { Secret as SecretValue } from '../errors.ts';
import type { KafkaAccess } from '../kafka/connect.ts';
import { clientAccess } from '../msk/access.ts';

type Options = { dryRun?: boolean };
type Result = { changed: boolean; dryRun: boolean; workspace: string; folder: string; jobs: { key: string; name: string; id: number | null }[]; steps: Step[]; warnings: string[] };

/** `streamgauge deploy`: notebooks, job and Kafka credentials to the workspace; only what is not there already. */
export const deploy: Command<Options, Result> = {
  name: 'deploy',
  summary: 'Bring notebooks, job and Kafka credentials to the Databricks workspace: only what changed, never twice.',
  examples: [
    ['streamgauge deploy -t prod', 'deploy to the target prod'],
    ['streamgauge deploy -t prod --dry-run', 'show what would be done'],
    ['streamgauge deploy --var window_minutes=5', 'deploy with another window length'],
  ],
  options: { dryRun: { type: 'boolean', describe: 'Show what would be done, and do nothing' } },
  async run({ config, progress, signal }, { dryRun = false }) {
    progress.stage('deploy');
    progress.update('asking MSK for brokers and credentials');
    const secrets = kafkaSecrets(await clientAccess(config, 'pipeline'));
    const workspace = await connect(config.databricks, { signal });
    const wanted = await wantedDeployment(workspace, config, secrets);
    progress.update(`reading ${wanted.place.root}`);
    const found = await observe(workspace, wanted);
    const steps = plan(wanted, found);
    const warnings = warningsOf(wanted, found);
    for (const warning of warnings) progress.warn(warning);
    const known = Object.fromEntries(Object.entries(found.jobs).map(([key, job]) => [key, job.job_id]));
    const ids = dryRun ? known : await apply(workspace, wanted, found, steps, (step) => progress.update(sentence(step)));
    const jobs = wanted.jobs.map(({ key, settings }) => ({ key, name: settings.name, id: ids[key] ?? null }));
    return { changed: steps.length > 0, dryRun, workspace: workspace.host, folder: wanted.place.root, jobs, steps, warnings };
  },
  render({ steps, dryRun, workspace, folder, jobs }) {
    const head = steps.length === 0 ? 'Nothing to do: the workspace is as the bundle says.' : `${dryRun ? 'Would do' : 'Done'}:\n${steps.map((step) => `  ${sentence(step)}`).join('\n')}`;
    const facts: [string, string | number | null][] = [['workspace', workspace], ['folder', folder], ...jobs.map(({ name, id }): [string, string] => ['job', `${name}${id === null ? '' : ` (${id})`}`])];
    return [{ kind: 'text', text: head }, { kind: 'facts', facts }];
  },
};

/** What the notebooks read from the secret scope; MSK names the brokers in any order. */
function kafkaSecrets({ brokers, sasl }: KafkaAccess): Record<string, Secret> {
  const servers = { bootstrap_servers: new SecretValue([...brokers].sort().join(',')) };
  return sasl.mechanism === 'iam' ? servers : { ...servers, username: new SecretValue(sasl.username), password: sasl.password };
}

function sentence(step: Step): string {
  switch (step.do) {
    case 'make folder':
      return `make folder ${step.path}`;
    case 'upload':
      return `upload ${step.file} (${step.reason})`;
    case 'delete':
      return `delete ${step.path} (${step.reason})`;
    case 'create secret scope':
      return `create secret scope ${step.scope}`;
    case 'put secrets':
      return `put secrets ${step.keys.join(', ')} into scope ${step.scope} (${step.reason})`;
    case 'create job':
      return `create job ${step.name}`;
    case 'update job':
      return `update job ${step.name}: ${step.changes.map(({ field, found, wanted }) => `${field} ${show(found)} -> ${show(wanted)}`).join(', ')}`;
    case 'delete job':
      return `delete job ${step.name} (${step.job_id}): no longer in the bundle`;
  }
}

function show(value: unknown): string {
  return value === undefined ? '(unset)' : JSON.stringify(value);
}

