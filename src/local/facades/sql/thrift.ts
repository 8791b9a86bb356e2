import { Processor } from '@databricks/sql/thrift/TCLIService.js';
import { Hono, type Context } from 'hono';
import { TBinaryProtocol, TBufferedTransport } from 'thrift';
import { messageOf } from '../../../errors.ts';
import type { Facade } from '../../contract.ts';
import type { SparkConnect } from '../../spark-connect/client.ts';
import { refusal } from '../refusal.ts';
import { readBody } from './body.ts';
import { createHandles } from './thrift-handles.ts';
import { createThriftHandler } from './thrift-handler.ts';

const MOST_BYTES_IN_A_REQUEST = 16 * 2 ** 20;

/** Databricks SQL's Thrift protocol over HTTP, at the paths of warehouses and of clusters. */
export function createThrift(spark: SparkConnect): Facade {
  const handles = createHandles();
  const processor = new Processor(createThriftHandler(spark, handles)) as Calls;
  const answer = async (c: Context) => {
    const request = await readBody(c, MOST_BYTES_IN_A_REQUEST);
    const response = await respond(processor, request).catch((error: unknown) => {
      throw refusal(400, 'MALFORMED_REQUEST', `not a strict binary Thrift call of TCLIService: ${messageOf(error)}`);
    });
    return c.body(response.length === 1 ? response[0]! : ReadableStream.from(response), 200, { 'content-type': 'application/x-thrift' });
  };
  const app = new Hono();
  for (const path of ['/sql/1.0/warehouses/:id', '/sql/1.0/endpoints/:id', '/sql/protocolv1/o/:org/:cluster']) app.post(path, answer);
  return { app, stop: handles.stop };
}

type Calls = { process(input: TBinaryProtocol, output: TBinaryProtocol): void };

/** One call: rejects where the bytes are no call, resolves with the answer's bytes otherwise. */
function respond(processor: Calls, request: Buffer): Promise<Buffer<ArrayBuffer>[]> {
  return new Promise((resolve, reject) => {
    // Not the library's own transport, which copies: memory outside the heap is what the collector runs for here.
    const parts: Buffer[] = [];
    const transport = { write: (part: Buffer) => parts.push(part), flush: () => resolve([...joined(parts)]), setCurrSeqId: () => {} };
    const receive = TBufferedTransport.receiver((input) => processor.process(new TBinaryProtocol(input, true, true), new TBinaryProtocol(transport, true, true)));
    try {
      receive(request);
    } catch (error) {
      reject(error);
    }
  });
}

const LARGE_BYTES = 64 * 2 ** 10;

/** Small parts together; Arrow batches, which are large, as they came from Spark. */
function* joined(parts: Buffer[]): Generator<Buffer<ArrayBuffer>> {
  let small: Buffer[] = [];
  for (const part of parts) {
    if (part.length < LARGE_BYTES) small.push(part);
    else {
      yield Buffer.concat(small);
      small = [];
      yield part as Buffer<ArrayBuffer>;
    }
  }
  yield Buffer.concat(small);
}
