import type * as T from '@databricks/sql/thrift/TCLIService_types.js';
import * as metadata from './metadata.ts';
import { settledWithin, startOperation, type Operation } from './operation.ts';
import { bindStatement, type Parameter } from './parameters.ts';
import { openSqlSession } from './session.ts';
import type { SparkConnect, SparkSession } from './spark-connect.ts';
import { asSqlFailure, sqlFailure } from './spark-errors.ts';
import type { Registry, Running } from './thrift-registry.ts';
import { fetchedResults, operationStatus, resultMetadata, STATUS, statusOf } from './thrift-results.ts';

const PROTOCOL_VERSION = 42248;
// What a small result costs is one request: the statement waits this long for its first rows before the client has to ask.
const DIRECT_RESULTS_MS = 1_000;
// One driver asks for the state without any pause; the answer waits a little instead.
const LONG_POLL_MS = 200;
const MOST_BYTES_IN_A_PAGE = 16 * 2 ** 20;
// `TOperationType` of TCLIService.
const TYPE = { statement: 0, typeInfo: 1, catalogs: 2, schemas: 3, tables: 4, tableTypes: 5, columns: 6, functions: 7, other: 8 } as const;
// `TGetInfoType` of TCLIService, as far as it is answered.
const INFO: Record<number, string> = { 13: 'Spark SQL', 17: 'Spark SQL', 29: '`' };
const DBMS_VERSION = 18;

/** TCLIService: every call's answer is a plain object that the generated code writes; errors are statuses, never throws. */
export function createThriftHandler(spark: SparkConnect, registry: Registry) {
  return { ...sessionCalls(spark, registry), ...operationCalls(registry), ...metadataCalls(registry) };
}

function sessionCalls(spark: SparkConnect, registry: Registry) {
  return {
    OpenSession: guarded(async (request: T.TOpenSessionReq) => {
      if (registry.full()) throw sqlFailure('TOO_MANY_SESSIONS', '53300', 'Too many sessions are open; close some.');
      const { catalogName, schemaName } = request.initialNamespace ?? {};
      const session = await openSqlSession(spark, { settings: request.configuration, catalog: catalogName, schema: schemaName });
      const initialNamespace = { catalogName: catalogName ?? 'spark_catalog', schemaName: schemaName ?? 'default' };
      const facts = { serverProtocolVersion: PROTOCOL_VERSION, configuration: {}, canUseMultipleCatalogs: true, initialNamespace };
      return { status: statusOf(), sessionHandle: registry.addSession(session), ...facts };
    }, { serverProtocolVersion: PROTOCOL_VERSION }),
    CloseSession: guarded(async (request: T.TCloseSessionReq) => {
      await registry.closeSession(registry.session(request.sessionHandle));
      return { status: statusOf() };
    }),
    GetInfo: guarded(async (request: T.TGetInfoReq) => {
      const session = registry.session(request.sessionHandle);
      const stringValue = request.infoType === DBMS_VERSION ? await session.spark.version() : INFO[request.infoType];
      if (stringValue === undefined) throw sqlFailure('UNSUPPORTED_INFO_TYPE', '0A000', `GetInfo has no answer for information type ${request.infoType}.`);
      return { status: statusOf(), infoValue: { stringValue } };
    }, { infoValue: {} }),
    GetDelegationToken: unsupported,
    CancelDelegationToken: unsupported,
    RenewDelegationToken: unsupported,
  };
}

function operationCalls(registry: Registry) {
  return {
    ExecuteStatement: guarded(async (request: T.TExecuteStatementReq) => {
      const session = registry.session(request.sessionHandle);
      const prepare = () => bindStatement(session.spark, request.statement, (request.parameters ?? []).map(parameterOf));
      const operation = startOperation(session.spark, prepare, request.useArrowNativeTypes ?? {});
      const running = registry.addOperation(session, operation, TYPE.statement);
      stopAfter(operation, Number(request.queryTimeout ?? 0));
      if (!request.runAsync && !request.getDirectResults) await operation.settled;
      return answerWith(registry, running, request.getDirectResults);
    }),
    GetOperationStatus: guarded(async (request: T.TGetOperationStatusReq) => {
      const { operation } = registry.operation(request.operationHandle);
      await settledWithin(operation.settled, LONG_POLL_MS);
      return operationStatus(operation);
    }),
    CancelOperation: guarded(async (request: T.TCancelOperationReq) => {
      await registry.operation(request.operationHandle).operation.stop('CANCELED');
      return { status: statusOf() };
    }),
    CloseOperation: guarded(async (request: T.TCloseOperationReq) => {
      registry.closeOperation(registry.operation(request.operationHandle));
      return { status: statusOf() };
    }),
    GetResultSetMetadata: guarded(async (request: T.TGetResultSetMetadataReq) => {
      const { operation } = registry.operation(request.operationHandle);
      await operation.settled;
      if (operation.failure) throw operation.failure;
      return resultMetadata(operation);
    }),
    FetchResults: guarded(async (request: T.TFetchResultsReq) => {
      const { operation } = registry.operation(request.operationHandle);
      const page = await operation.fetch(Number(request.maxRows), pageBytes(request.maxBytes));
      return fetchedResults(operation, page, request.includeResultSetMetadata === true);
    }),
  };
}

type MetadataCall = metadata.MetadataRequest & { sessionHandle: T.TSessionHandle; getDirectResults?: T.TSparkGetDirectResults };

function metadataCalls(registry: Registry) {
  const call = (operationType: number, answer: (session: SparkSession, request: MetadataCall) => Operation | Promise<Operation>) =>
    guarded(async (request: MetadataCall) => {
      const session = registry.session(request.sessionHandle);
      const running = registry.addOperation(session, await answer(session.spark, request), operationType);
      return answerWith(registry, running, request.getDirectResults);
    });
  return {
    GetCatalogs: call(TYPE.catalogs, metadata.getCatalogs),
    GetSchemas: call(TYPE.schemas, metadata.getSchemas),
    GetTables: call(TYPE.tables, metadata.getTables),
    GetTableTypes: call(TYPE.tableTypes, metadata.getTableTypes),
    GetColumns: call(TYPE.columns, metadata.getColumns),
    GetFunctions: call(TYPE.functions, metadata.getFunctions),
    GetTypeInfo: call(TYPE.typeInfo, metadata.getTypeInfo),
    GetPrimaryKeys: call(TYPE.other, metadata.getPrimaryKeys),
    GetCrossReference: call(TYPE.other, metadata.getCrossReference),
  };
}

async function answerWith(registry: Registry, running: Running, direct: T.TSparkGetDirectResults | undefined) {
  const answer = { status: statusOf(), operationHandle: running.handle };
  if (!direct || !(await settledWithin(running.operation.settled, DIRECT_RESULTS_MS))) return answer;
  return { ...answer, directResults: await directResults(registry, running, direct) };
}

/** State, schema and first rows at once; a result that is whole with them is closed as well. */
async function directResults(registry: Registry, running: Running, direct: T.TSparkGetDirectResults) {
  const { operation } = running;
  if (operation.state !== 'FINISHED') return { operationStatus: operationStatus(operation) };
  const page = await operation.fetch(Number(direct.maxRows), pageBytes(direct.maxBytes)).catch(() => undefined);
  if (!page) return { operationStatus: operationStatus(operation) };
  const results = {
    operationStatus: operationStatus(operation),
    resultSetMetadata: resultMetadata(operation),
    resultSet: fetchedResults(operation, page, false),
  };
  if (page.hasMore) return results;
  registry.closeOperation(running);
  return { ...results, closeOperation: { status: statusOf() } };
}

/** Turns a throw into the status of an answer; `required` are fields the protocol wants even then. */
function guarded<R>(call: (request: R) => Promise<object>, required: object = {}) {
  return (request: R): Promise<object> =>
    call(request).catch((error: unknown) => {
      const failure = asSqlFailure(error);
      return { ...required, status: statusOf(failure, failure.code === 'INVALID_HANDLE' ? STATUS.invalidHandle : STATUS.error) };
    });
}

const unsupported = guarded(async (_request: unknown) => {
  throw sqlFailure('UNSUPPORTED', '0A000', 'Delegation tokens are not part of the local platform.');
});

function stopAfter(operation: Operation, seconds: number): void {
  if (!(seconds > 0)) return;
  void settledWithin(operation.settled, seconds * 1000).then((inTime) => (inTime ? undefined : operation.stop('TIMEDOUT')));
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
