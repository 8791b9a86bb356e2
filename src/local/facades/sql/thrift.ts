import { Processor } from '@databricks/sql/thrift/TCLIService.js';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { TBinaryProtocol, TBufferedTransport } from 'thrift';
import { messageOf } from '../../../errors.ts';
import type { Facade, Log } from '../../contract.ts';
import { refusal } from '../refusal.ts';
import type { SparkConnect } from './spark-connect.ts';
import { createThriftHandler } from './thrift-handler.ts';

const MOST_BYTES_IN_A_REQUEST = 16 * 2 ** 20;

/** Databricks SQL's Thrift protocol over HTTP, at the paths of warehouses and of clusters. */
export function createThrift(spark: SparkConnect, log: Log): Facade {
  const handler = createThriftHandler(spark, log);
  const processor = new Processor(handler.calls) as { process(input: TBinaryProtocol, output: TBinaryProtocol): void };
  const tooLarge = () => {
    throw refusal(413, 'REQUEST_TOO_LARGE', `a Thrift request has at most ${MOST_BYTES_IN_A_REQUEST} bytes`);
  };
  const limit = bodyLimit({ maxSize: MOST_BYTES_IN_A_REQUEST, onError: tooLarge });
  const answer = async (c: Context) => {
    const request = Buffer.from(await c.req.arrayBuffer());
    const response = await respond(processor, request).catch((error: unknown) => {
      throw refusal(400, 'MALFORMED_REQUEST', `not a strict binary Thrift call of TCLIService: ${messageOf(error)}`);
    });
    return c.body(new Uint8Array(response), 200, { 'content-type': 'application/x-thrift' });
  };
  const app = new Hono();
  for (const path of ['/sql/1.0/warehouses/:id', '/sql/1.0/endpoints/:id', '/sql/protocolv1/o/:org/:cluster']) app.post(path, limit, answer);
  return { app, stop: handler.stop };
}

/** One call: rejects where the bytes are no call, resolves with the answer's bytes otherwise. */
function respond(processor: { process(input: TBinaryProtocol, output: TBinaryProtocol): void }, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const output = new TBinaryProtocol(new TBufferedTransport(undefined, resolve), true, true);
    const receive = TBufferedTransport.receiver((transport) => processor.process(new TBinaryProtocol(transport, true, true), output));
    try {
      receive(request);
    } catch (error) {
      reject(error);
    }
  });
}
