// Loaded into the controller by NODE_OPTIONS: counts its effects on the outside (requests that change something), and
// kills it, as nothing can be caught, when the one named by KILL_AFTER has just been answered.
import { channel } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';

const { KILL_AFTER, KILL_LOG } = process.env;
let effects = 0;

function effect(what) {
  effects += 1;
  if (KILL_LOG) appendFileSync(KILL_LOG, `${what}\n`);
  if (String(effects) === KILL_AFTER) process.kill(process.pid, 'SIGKILL');
}

// The AWS SDK speaks through node:http; what it creates is known by its operation.
channel('http.client.response.finish').subscribe(({ request }) => {
  const operation = String(request.getHeader('x-amz-target') ?? '').split('.').at(-1) || `${request.method} ${request.path.split('?')[0].split('/').at(-1)}`;
  if (/^(Create|POST)/.test(operation)) effect(`AWS ${operation}`);
});

channel('undici:request:headers').subscribe(({ request }) => {
  if (request.method !== 'GET' && !request.path.startsWith('/oidc/')) effect(`${request.method} ${request.path.split('?')[0]}`);
});
