// Loaded into the controller by NODE_OPTIONS: kills it, as nothing can be caught, just before it sends the first request over
// node:http whose method and path match KILL_BEFORE.
import { channel } from 'node:diagnostics_channel';

const pattern = new RegExp(process.env.KILL_BEFORE ?? '$^');

channel('http.client.request.start').subscribe(({ request }) => {
  if (pattern.test(`${request.method} ${request.path}`)) process.kill(process.pid, 'SIGKILL');
});
