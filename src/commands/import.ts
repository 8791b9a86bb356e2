import type { Command, Context } from '../command.ts';
import { placeOf, wantedJobs } from '../databricks/bundle.ts';
import { connect } from '../databricks/client.ts';
import { CODE_TAG } from '../databricks/code.ts';
import { getJob, listSecrets, me, putSecret, updateJob } from '../databricks/rest.ts';
import { MADE_KEY } from '../databricks/scope.ts';
import { adoptIndex } from '../elasticsearch/template.ts';
import { openElasticsearch } from '../elasticsearch/connect.ts';
import { Failure } from '../errors.ts';
import { withAdmin } from '../kafka/connect.ts';
import { findTopics } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { connectAws } from '../msk/clients.ts';
import { findCluster } from '../msk/cluster.ts';
import { ownTopic } from '../msk/ownership.ts';

type Options = { thing?: string; id?: string | number; job?: string };
type Result = { thing: string; name: string; was: string };

/** `streamgauge import`: takes in what is there already, without making it anew: from then on deploy changes it and destroy counts it. */
export const importThing: Command<Options, Result> = {
  name: 'import',
  positionals: '<thing> [id]',
  actions: ['job', 'topic', 'index', 'scope'],
  summary: 'Take in an existing topic, job, index or secret scope: it stays what it is, and belongs to the bundle from then on.',
  examples: [
    ['streamgauge import job 1234', 'the job with this id; the next deploy changes it in place'],
    ['streamgauge import topic traffic_counter', 'a topic of an adopted cluster: destroy may delete it, too'],
    ['streamgauge import index', 'the index that the variable `index` names'],
    ['streamgauge import scope', 'the scope that the variable `secret_scope` names'],
  ],
  options: { job: { type: 'string', requiresArg: true, describe: 'Key in the bundle that the imported job stands for, where it has several' } },
  async run(context, { thing, id, job }) {
    context.progress.stage(`import ${thing}`);
    if (thing === 'job') return importJob(context, id, job);
    if (thing === 'topic') return importTopic(context, id === undefined ? undefined : String(id));
    if (thing === 'index') return importIndex(context);
    return importScope(context);
  },
  render: ({ thing, name, was }) => [{ kind: 'text', text: `${thing} ${name} is taken in (${was}). See what deploy would change: \`streamgauge plan\`.` }],
};

async function importJob({ config, signal }: Context, id: string | number | undefined, key: string | undefined): Promise<Result> {
  const jobId = Number(id);
  if (!Number.isSafeInteger(jobId) || jobId <= 0) throw usage('import job needs the id of a job', 'Write `streamgauge import job 1234`.');
  const workspace = await connect(config.databricks, { signal });
  const who = await me(workspace);
  const place = placeOf(config, who);
  const wanted = wantedJobs(config, who, place);
  const chosen = key === undefined && wanted.length === 1 ? wanted[0] : wanted.find((job) => job.key === key);
  if (chosen === undefined) throw usage(key === undefined ? 'the bundle has several jobs' : `the bundle has no job ${JSON.stringify(key)}`, `Name one: --job ${wanted.map((job) => job.key).join(' | ')}.`);
  const found = await getJob(workspace, jobId);
  if (found === undefined) throw missing(`there is no job ${jobId} at ${workspace.host}`, 'See them: `databricks jobs list`.');
  const { name, deployment } = chosen.settings;
  // What it executes is still its own.
  const { [CODE_TAG]: _, ...tags } = chosen.settings.tags ?? {};
  // The mark of the bundle and the name under which it is looked for; everything else is the next deployment's.
  await updateJob(workspace, jobId, { name, deployment, edit_mode: 'UI_LOCKED', tags: { ...found.settings.tags, ...tags } });
  return { thing: 'job', name: `${name} (${jobId})`, was: `it was named ${JSON.stringify(found.settings.name ?? '')}` };
}

async function importTopic({ config }: Context, name: string | undefined): Promise<Result> {
  const topic = name ?? (config.pipeline.topics.length === 1 ? config.pipeline.topics[0] : undefined);
  if (topic === undefined || !config.pipeline.topics.includes(topic)) throw usage(`the variable topics does not name ${topic ?? 'one topic alone'}`, `It names: ${config.pipeline.topics.join(', ')}.`);
  const aws = await connectAws(config.awsRegion);
  const cluster = await findCluster(aws, config.pipeline.cluster_name);
  if (cluster === undefined) throw missing(`there is no cluster ${config.pipeline.cluster_name}`, `Adopt or create one: \`streamgauge provision -t ${config.target}\`.`);
  const [found] = await withAdmin(await accessTo(aws, cluster, config, 'admin'), 'looking at the topic', (admin) => findTopics(admin, [topic]));
  if (found === undefined) throw missing(`there is no topic ${topic} in cluster ${cluster.name}`, `Create it: \`streamgauge deploy -t ${config.target}\`.`);
  // In a cluster of ours every topic goes with it anyway.
  if (!cluster.ours) await ownTopic(aws, cluster, topic);
  return { thing: 'topic', name: topic, was: `${found.partitions} partitions, ${found.replicationFactor} copies` };
}

async function importIndex({ config, signal }: Context): Promise<Result> {
  const { index } = config.pipeline;
  const elasticsearch = await openElasticsearch(config, signal);
  try {
    if (!(await adoptIndex(elasticsearch, index))) throw missing(`there is no index ${index}`, 'The first export makes it: `streamgauge export`.');
    return { thing: 'index', name: index, was: 'its documents stay' };
  } finally {
    await elasticsearch.close();
  }
}

async function importScope({ config, signal }: Context): Promise<Result> {
  const scope = config.pipeline.secret_scope;
  const workspace = await connect(config.databricks, { signal });
  const secrets = await listSecrets(workspace, scope);
  if (secrets === undefined) throw missing(`there is no secret scope ${scope}`, `Create it: \`streamgauge deploy -t ${config.target}\`.`);
  await putSecret(workspace, scope, MADE_KEY, 'taken in by streamgauge import; destroy removes the scope');
  return { thing: 'secret scope', name: scope, was: `${secrets.length} secrets, which stay` };
}

function usage(message: string, hint: string): Failure {
  return new Failure({ code: 'USAGE', kind: 'usage', message, hint });
}

function missing(message: string, hint: string): Failure {
  return new Failure({ code: 'NOTHING_TO_IMPORT', kind: 'remote', message, hint });
}
