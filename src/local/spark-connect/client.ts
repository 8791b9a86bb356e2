import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import type { Runtime, SparkDoor } from '../contract.ts';
import { readResponses, type Wire } from './responses.ts';
import { sparkFailure, type ErrorDecoders } from './errors.ts';

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
    // With a batch on top (at most 4 MiB) within the 10 MiB that Spark keeps of what it has sent, or the rest could not be asked for again.
    'grpc-node.flow_control_window': 6 * 2 ** 20,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${door.token}`);
  const decoders = { status: definition['google.rpc.Status'], info: definition['google.rpc.ErrorInfo'] } as unknown as ErrorDecoders;
  const wire: Wire = {
    unary: (method, request) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + UNARY_DEADLINE_MS;
        client[method](request, metadata, { deadline }, (error: unknown, response: Message) => (error ? reject(error) : resolve(response)));
      }),
    stream: (method, request) => client[method](request, metadata),
  };
  return { openSession: (id = randomUUID()) => openSession(wire, decoders, id), close: () => client.close() };
}

function openSession(wire: Wire, decoders: ErrorDecoders, id: string): SparkSession {
  const who: Message = { session_id: id, user_context: { user_id: 'streamgauge', user_name: 'streamgauge' }, client_type: 'streamgauge-sql' };
  const failure = async (error: unknown) =>
    sparkFailure(error, decoders, (error_id) => wire.unary('FetchErrorDetails', { ...who, error_id }));
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
