import type * as T from '@databricks/sql/thrift/TCLIService_types.js';
import type { SparkConnect } from '../../spark-connect/client.ts';
import { asSqlFailure, sqlFailure } from '../../spark-connect/errors.ts';
import { METADATA, type MetadataRequest } from './metadata.ts';
import { prepared, settledWithin, startOperation, type Operation, type Shape } from './operation.ts';
import type { Parameter } from './parameters.ts';
import { readableByDrivers, type ArrowTypes } from './projection.ts';
import { openSqlSession, SESSION_CATALOG } from './session.ts';
import type { Handles } from './thrift-handles.ts';
import { fetchedResults, operationStatus, resultMetadata, statusOf } from './thrift-results.ts';

const PROTOCOL_VERSION = 42248;
// What a small result costs is one request: the statement waits this long for its first rows before the client has to ask.
const DIRECT_RESULTS_MS = 1_000;
// One driver asks for the state without any pause; the answer waits a little instead.
const LONG_POLL_MS = 200;
const MOST_BYTES_IN_A_PAGE = 16 * 2 ** 20;
const STATEMENT = 0; // `EXECUTE_STATEMENT` of TOperationType
// `TGetInfoType` of TCLIService, as far as it is answered.
const INFO = { dbmsName: 17, dbmsVersion: 18 } as const;

type Call = (request: any) => Promise<object>;
type MetadataCall = MetadataRequest & { sessionHandle: T.TSessionHandle; getDirectResults?: T.TSparkGetDirectResults };

/** TCLIService: every call's answer is a plain object that the generated code writes; errors are statuses, never throws. */
export function createThriftHandler(spark: SparkConnect, handles: Handles): object {
  const calls: Record<string, Call> = { ...sessionCalls(spark, handles), ...operationCalls(handles), ...metadataCalls(handles) };
  const other = (name: string): Call => async () => {
    throw sqlFailure('UNSUPPORTED', '0A000', `${name} is not part of the local platform.`);
  };
  return new Proxy({}, { get: (_target, name) => answered(calls[String(name)] ?? other(String(name))) });
}

/** Turns a throw into the status of an answer, with the fields that the protocol wants even then. */
function answered(call: Call): Call {
  return (request) => call(request).catch((error: unknown) => ({ status: statusOf(asSqlFailure(error)), serverProtocolVersion: PROTOCOL_VERSION, infoValue: {} }));
}

function sessionCalls(spark: SparkConnect, handles: Handles): Record<string, Call> {
  return {
    OpenSession: async (request: T.TOpenSessionReq) => {
      const { catalogName: catalog, schemaName: schema } = request.initialNamespace ?? {};
      const session = await openSqlSession(spark, { settings: request.configuration, catalog, schema });
      const initialNamespace = { catalogName: catalog ?? SESSION_CATALOG, schemaName: schema ?? 'default' };
      const facts = { serverProtocolVersion: PROTOCOL_VERSION, configuration: {}, canUseMultipleCatalogs: true, initialNamespace };
      return { status: statusOf(), sessionHandle: handles.addSession(session), ...facts };
    },
    CloseSession: async (request: T.TCloseSessionReq) => {
      await handles.closeSession(request.sessionHandle);
      return { status: statusOf() };
    },
    GetInfo: async ({ sessionHandle, infoType }: T.TGetInfoReq) => {
      const session = handles.session(sessionHandle);
      if (infoType !== INFO.dbmsName && infoType !== INFO.dbmsVersion) throw sqlFailure('UNSUPPORTED_INFO_TYPE', '0A000', `GetInfo has no answer for information type ${infoType}.`);
      return { status: statusOf(), infoValue: { stringValue: infoType === INFO.dbmsName ? 'Spark SQL' : await session.version() } };
    },
  };
}

function operationCalls(handles: Handles): Record<string, Call> {
  return {
    ExecuteStatement: async (request: T.TExecuteStatementReq) => {
      const session = handles.session(request.sessionHandle);
      const prepare = async () => prepared(session, request.statement, (request.parameters ?? []).map(parameterOf));
      const operation = startOperation(prepare, forDrivers(request.useArrowNativeTypes));
      const handle = handles.addOperation(request.sessionHandle, operation, STATEMENT);
      stopAfter(operation, Number(request.queryTimeout ?? 0));
      if (!request.runAsync && !request.getDirectResults) await operation.settled;
      return answerWith(handles, operation, handle, request.getDirectResults);
    },
    GetOperationStatus: async (request: T.TGetOperationStatusReq) => {
      const operation = handles.operation(request.operationHandle);
      await settledWithin(operation.settled, LONG_POLL_MS);
      return operationStatus(operation);
    },
    CancelOperation: async (request: T.TCancelOperationReq) => {
      await handles.operation(request.operationHandle).stop('CANCELED');
      return { status: statusOf() };
    },
    CloseOperation: async (request: T.TCloseOperationReq) => {
      void handles.closeOperation(request.operationHandle);
      return { status: statusOf() };
    },
    GetResultSetMetadata: async (request: T.TGetResultSetMetadataReq) => {
      const operation = handles.operation(request.operationHandle);
      await operation.settled;
      if (operation.failure) throw operation.failure;
      return resultMetadata(operation);
    },
    FetchResults: async (request: T.TFetchResultsReq) => {
      const operation = handles.operation(request.operationHandle);
      const page = await operation.fetch(Number(request.maxRows), pageBytes(request.maxBytes));
      return fetchedResults(operation, page, request.includeResultSetMetadata === true);
    },
  };
}

function metadataCalls(handles: Handles): Record<string, Call> {
  const calls = Object.entries(METADATA).map(([name, { operationType, answer }]) => {
    const call = async (request: MetadataCall) => {
      const session = handles.session(request.sessionHandle);
      const operation = startOperation(async () => ({ session, input: await answer(session, request), isCommand: false }), forDrivers());
      operation.isInColumns = true;
      const handle = handles.addOperation(request.sessionHandle, operation, operationType);
      await operation.settled;
      if (operation.failure) throw operation.failure;
      return answerWith(handles, operation, handle, request.getDirectResults);
    };
    return [name, call] as const;
  });
  return Object.fromEntries(calls);
}

async function answerWith(handles: Handles, operation: Operation, operationHandle: T.TOperationHandle, direct: T.TSparkGetDirectResults | undefined) {
  const answer = { status: statusOf(), operationHandle };
  if (!direct || !(await settledWithin(operation.settled, DIRECT_RESULTS_MS))) return answer;
  const page = await operation.fetch(Number(direct.maxRows), pageBytes(direct.maxBytes)).catch(() => undefined);
  if (!page) return { ...answer, directResults: { operationStatus: operationStatus(operation) } };
  const directResults = {
    operationStatus: operationStatus(operation),
    resultSetMetadata: resultMetadata(operation),
    resultSet: fetchedResults(operation, page, false),
  };
  if (page.hasMore) return { ...answer, directResults };
  // A result that is whole is closed as well.
  void handles.closeOperation(operationHandle);
  return { ...answer, directResults: { ...directResults, closeOperation: { status: statusOf() } } };
}

const forDrivers = (native: ArrowTypes = {}): Shape => (relation, columns) => readableByDrivers(relation, columns, native);

function stopAfter(operation: Operation, seconds: number): void {
  if (!(seconds > 0)) return;
  void settledWithin(operation.settled, seconds * 1000).then((isInTime) => (isInTime ? undefined : operation.stop('TIMEDOUT')));
}

function parameterOf(given: T.TSparkParameter | T.TSparkParameterValueArg): Parameter {
  const { value } = given;
  const text = typeof value === 'object' && value !== null ? (value.stringValue ?? value.doubleValue ?? value.booleanValue) : value;
  return {
    ...('name' in given && given.name != null && { name: given.name }),
    ...(given.type != null && { type: given.type }),
    ...(text != null && { value: String(text) }),
    ...(given.arguments && { arguments: given.arguments.map(parameterOf) }),
  };
}

function pageBytes(asked: { toString(): string } | undefined | null): number {
  return Math.min(asked ? Number(asked) : MOST_BYTES_IN_A_PAGE, MOST_BYTES_IN_A_PAGE);
}
