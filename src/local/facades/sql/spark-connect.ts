import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import type { Runtime, SparkDoor } from '../../contract.ts';
import { sparkFailure, type ErrorDecoders } from './spark-errors.ts';

/** A message of Spark Connect's protocol as proto-loader reads and writes it: snake_case names, a oneof's case under its name. */
export type Message = { [field: string]: any };
export type Relation = Message;
export type DataType = Message & { kind: string };
/** What one response of ExecutePlan adds: the schema comes first, then Arrow IPC streams, each complete in itself. */
export type SparkResponse = {
  schema?: DataType;
  arrow_batch?: { row_count: number; data: Buffer };
  sql_command_result?: { relation: Relation };
  result_complete?: object;
  response_id: string;
};

export type Execution = {
  /** Reads as slowly as its consumer asks; ending it early frees the operation in Spark. */
  responses: AsyncGenerator<SparkResponse, void>;
  /** Asks Spark to stop; `responses` then fails with OPERATION_CANCELED. */
  interrupt(): Promise<void>;
};

export type SparkSession = {
  id: string;
  execute(plan: Message): Execution;
  /** The schema of a relation, without running it. */
  schema(relation: Relation): Promise<{ fields: Message[] }>;
  configure(settings: Record<string, string>): Promise<void>;
  version(): Promise<string>;
  /** Ends the session in Spark: its temporary views, settings and operations are gone. */
  release(): Promise<void>;
};

export type SparkConnect = { openSession(id?: string): SparkSession; close(): void };

// Batches the consumer has taken are kept by Spark until they are released; telling it every few megabytes is enough.
const RELEASE_EVERY_BYTES = 8 * 2 ** 20;
// Spark forgets an operation that nobody has been attached to for five minutes.
const STAY_ATTACHED_MS = 90_000;
const UNARY_DEADLINE_MS = 120_000;

/** Opens a channel to Spark Connect, with the protocol's .proto files out of the installed jar. */
export async function connectSpark(
  door: SparkDoor,
  runtime: Pick<Runtime, 'python' | 'sparkConnectJar'>,
  cacheDir: string,
): Promise<SparkConnect> {
  const includeDir = await extractProtos(runtime, cacheDir);
  const files = ['spark/connect/base.proto', 'google/rpc/status.proto', 'google/rpc/error_details.proto'];
  const definition = await load(files, { includeDirs: [includeDir], keepCase: true, longs: Number, enums: String, oneofs: true });
  const { spark } = grpc.loadPackageDefinition(definition) as Message;
  const client = new spark.connect.SparkConnectService(`${door.host}:${door.port}`, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.enable_retries': 0, // its buffer of messages to repeat costs more than it could help here
    // Well below the 10 MiB that Spark keeps of what it has sent, or the rest could not be asked for again.
    'grpc-node.flow_control_window': 2 * 2 ** 20,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${door.token}`);
  const wire: Wire = {
    decoders: { status: definition['google.rpc.Status'], info: definition['google.rpc.ErrorInfo'] } as unknown as ErrorDecoders,
    unary: (method, request) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + UNARY_DEADLINE_MS;
        client[method](request, metadata, { deadline }, (error: unknown, response: Message) => (error ? reject(error) : resolve(response)));
      }),
    stream: (method, request) => client[method](request, metadata),
  };
  return { openSession: (id = randomUUID()) => openSession(wire, id), close: () => client.close() };
}

type Wire = {
  decoders: ErrorDecoders;
  unary(method: string, request: Message): Promise<Message>;
  stream(method: string, request: Message): grpc.ClientReadableStream<SparkResponse>;
};

function openSession(wire: Wire, id: string): SparkSession {
  const who: Message = { session_id: id, user_context: { user_id: 'streamgauge', user_name: 'streamgauge' }, client_type: 'streamgauge-sql' };
  const failure = async (error: unknown) =>
    sparkFailure(error, wire.decoders, (error_id) => wire.unary('FetchErrorDetails', { ...who, error_id }));
  const call = async (method: string, request: Message) => {
    try {
      const answer = await wire.unary(method, { ...who, ...request });
      // From now on a Spark that was restarted refuses the session, where it would start an empty one in silence.
      who.client_observed_server_side_session_id ||= answer.server_side_session_id;
      return answer;
    } catch (error) {
      throw await failure(error);
    }
  };
  return {
    id,
    execute: (plan) => {
      const operation = { ...who, operation_id: randomUUID() };
      const interrupt = async () => {
        await call('Interrupt', { interrupt_type: 'INTERRUPT_TYPE_OPERATION_ID', operation_id: operation.operation_id });
      };
      return { responses: readResponses(wire, operation, plan, failure), interrupt };
    },
    schema: async (relation) => {
      const answer = await call('AnalyzePlan', { schema: { plan: { root: relation } } });
      return answer.schema.schema.struct;
    },
    configure: async (settings) => {
      const pairs = Object.entries(settings).map(([key, value]) => ({ key, value }));
      if (pairs.length > 0) await call('Config', { operation: { set: { pairs } } });
    },
    version: async () => (await call('AnalyzePlan', { spark_version: {} })).spark_version.version,
    release: async () => {
      await call('ReleaseSession', {});
    },
  };
}

/** One operation's responses over as many streams as it takes: Spark ends a stream after two minutes and expects to be asked for the rest. */
async function* readResponses(
  wire: Wire,
  operation: Message,
  plan: Message,
  failure: (error: unknown) => Promise<Error>,
): AsyncGenerator<SparkResponse, void> {
  const waiting: SparkResponse[] = [];
  let lastId: string | undefined;
  let unreleasedBytes = 0;
  let idle = false;
  let end: 'complete' | 'failed' | undefined;

  const receive = (response: SparkResponse) => {
    lastId = response.response_id;
    if (response.result_complete) end = 'complete';
    waiting.push(response);
  };
  const release = (what: Message) => wire.unary('ReleaseExecute', { ...operation, ...what }).catch(() => {});
  const attach = (method: string, request: Message) => {
    const stream = wire.stream(method, { ...operation, ...request });
    stream.on('error', () => {}); // read, and thrown, by the loop below; without a listener it would end the process
    return { stream, messages: stream[Symbol.asyncIterator]() };
  };
  const attachAgain = () => attach('ReattachExecute', lastId === undefined ? {} : { last_response_id: lastId });
  let reader = attach('ExecutePlan', { plan, request_options: [{ reattach_options: { reattachable: true } }] });
  // While the consumer pauses, nobody reads: what has arrived is kept, and a new stream will bring what comes after it.
  const stayAttached = setInterval(() => {
    if (!idle || end) return;
    const old = reader.stream;
    while (old.readableLength > 0) receive(old.read());
    if (!end) reader = attachAgain();
    old.cancel();
  }, STAY_ATTACHED_MS);
  stayAttached.unref();

  try {
    for (;;) {
      const response = waiting.shift();
      if (response) {
        unreleasedBytes += response.arrow_batch?.data.length ?? 0;
        if (unreleasedBytes > RELEASE_EVERY_BYTES) {
          unreleasedBytes = 0;
          void release({ release_until: { response_id: response.response_id } });
        }
        idle = true;
        yield response;
        idle = false;
        continue;
      }
      const reading = reader;
      if (end) {
        await reading.messages.next().catch(() => {}); // Spark closes the stream; closing it first looks like a fault there
        return;
      }
      try {
        const { value, done } = await reading.messages.next();
        if (reading !== reader) continue; // late, and sent again on the new stream
        if (!done) receive(value);
        else reader = attachAgain();
      } catch (error) {
        if (reading !== reader) continue;
        end = 'failed';
        throw await failure(error);
      }
    }
  } finally {
    clearInterval(stayAttached);
    if (!end) {
      reader.stream.cancel();
      await wire.unary('Interrupt', { ...operation, interrupt_type: 'INTERRUPT_TYPE_OPERATION_ID' }).catch(() => {});
    }
    void release({ release_all: {} });
  }
}

/** Unpacks the jar's .proto files once per jar: into a folder of its own that appears whole or not at all. */
async function extractProtos(runtime: Pick<Runtime, 'python' | 'sparkConnectJar'>, cacheDir: string): Promise<string> {
  const jar = await stat(runtime.sparkConnectJar);
  const target = join(cacheDir, `spark-connect-proto-${jar.size}-${Math.trunc(jar.mtimeMs)}`);
  if (await stat(target).catch(() => undefined)) return target;
  await mkdir(cacheDir, { recursive: true });
  const unfinished = `${target}.${randomUUID()}`;
  const program = 'import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nz.extractall(sys.argv[2],[n for n in z.namelist() if n.endswith(".proto")])';
  await promisify(execFile)(runtime.python, ['-c', program, runtime.sparkConnectJar, unfinished]);
  await rename(unfinished, target).catch(async (error: unknown) => {
    await rm(unfinished, { recursive: true, force: true });
    if (!(await stat(target).catch(() => undefined))) throw error; // else another process was first
  });
  return target;
}
