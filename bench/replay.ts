import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/**
 * A server that keeps what the real one answers to Thrift calls and, once told to, answers with that from memory: what a client
 * still needs then is the client's own time. It is made for one client that repeats one statement.
 */
export async function startReplay(upstream: string, certificate: { key: string; cert: string }) {
  let recorded: { name: string; answer: Buffer }[] = [];
  let next: number | undefined;
  const server = createServer({ key: readFileSync(certificate.key), cert: readFileSync(certificate.cert) }, async (request, response) => {
    const call = await buffer(request);
    const { name, sequenceAt } = headOf(call);
    // Each statement begins the tape again.
    if (name === 'ExecuteStatement') {
      if (next === undefined) recorded = [];
      else next = 0;
    }
    let answer = next === undefined ? undefined : recorded[next]?.answer;
    if (answer === undefined) {
      const real = await fetch(`${upstream}${request.url}`, { method: 'POST', body: new Uint8Array(call), headers: { authorization: String(request.headers.authorization), 'content-type': 'application/x-thrift' } });
      answer = Buffer.from(await real.arrayBuffer());
      recorded.push({ name, answer });
    } else next! += 1;
    // A client knows its calls by their sequence numbers.
    call.copy(answer, sequenceAt, sequenceAt, sequenceAt + 4);
    response.setHeader('content-type', 'application/x-thrift').end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    record: () => void (next = undefined),
    replay: () => void (next = 0),
    stop: () => server.close(() => undefined).closeAllConnections(),
  };
}

/** Thrift's strict binary head: version and type, the name with its length, the sequence number. */
function headOf(call: Buffer): { name: string; sequenceAt: number } {
  const sequenceAt = 8 + call.readInt32BE(4);
  return { name: call.toString('utf8', 8, sequenceAt), sequenceAt };
}
