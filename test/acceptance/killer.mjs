// Loaded into the controller by NODE_OPTIONS: sees every request that changes something outside, whoever sends it (AWS, Kafka,
// Databricks, Elasticsearch), and kills the controller, as nothing can be caught, when the KILL_AFTERth or the first that KILL_AT matches was just answered.
import { channel } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';

const { KILL_AFTER, KILL_AT, KILL_LOG } = process.env;
/** Kafka's requests that change something: https://kafka.apache.org/protocol#protocol_api_keys */
const KAFKA = { 19: 'CreateTopics', 20: 'DeleteTopics', 30: 'CreateAcls', 31: 'DeleteAcls', 37: 'CreatePartitions', 44: 'IncrementalAlterConfigs' };
const READS = /^(GET|HEAD)$/;
let effects = 0;

function effect(what) {
  effects += 1;
  if (KILL_LOG) appendFileSync(KILL_LOG, `${what}\n`);
  if (String(effects) === KILL_AFTER || (KILL_AT && new RegExp(KILL_AT).test(what))) process.kill(process.pid, 'SIGKILL');
}

// The AWS SDK and Elasticsearch's client speak through node:http; JSON services of AWS name their operation in a header.
channel('http.client.response.finish').subscribe(({ request }) => {
  const [path] = request.path.split('?');
  const target = String(request.getHeader('x-amz-target') ?? '').split('.').at(-1);
  if (target !== '') {
    if (!/^(Describe|Get|List)/.test(target)) effect(`AWS ${target}`);
  } else if (/^\/(v1|api\/v2)\//.test(path)) {
    if (!READS.test(request.method)) effect(`AWS ${request.method} ${path.replace(/arn[^/]*/g, 'ARN')}`);
  } else if (!READS.test(request.method) && !path.startsWith('/sql/') && !/_(search|count|refresh)$/.test(path)) effect(`Elasticsearch ${request.method} ${path}`);
});

channel('undici:request:headers').subscribe(({ request }) => {
  if (!READS.test(request.method) && !request.path.startsWith('/oidc/') && !request.path.startsWith('/sql/')) effect(`Databricks ${request.method} ${decodeURIComponent(request.path.split('?')[0])}`);
});

channel('tracing:plt:kafka:connections:api:asyncStart').subscribe(({ apiKey, error }) => {
  if (error === undefined && KAFKA[apiKey] !== undefined) effect(`Kafka ${KAFKA[apiKey]}`);
});
