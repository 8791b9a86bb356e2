import { randomBytes } from 'node:crypto';
import type * as T from '@databricks/sql/thrift/TCLIService_types.js';
import type { Log } from '../../contract.ts';
import * as metadata from './metadata.ts';
import { settledWithin, startOperation, type Operation } from './operation.ts';
import { bindStatement, type Parameter } from './parameters.ts';
import { openSqlSession } from './session.ts';
import type { SparkConnect, SparkSession } from './spark-connect.ts';
import { asSqlFailure, sqlFailure, type SqlFailure } from './spark-errors.ts';
import { fetchedResults, operationStatus, resultMetadata, STATUS, statusOf } from './thrift-results.ts';

type Handle = { guid: Buffer; secret: Buffer };
type Session = { key: string; spark: SparkSession; operations: Set<string>; usedAt: number };
type Running = { operation: Operation; session: Session; handle: T.TOperationHandle; usedAt: number };

const PROTOCOL_VERSION = 42248;
// What a small result costs is one request: the statement waits this long for its first rows before the client has to ask.
const DIRECT_RESULTS_MS = 1_000;
// One driver asks for the state without any pause; the answer waits a little instead.
const LONG_POLL_MS = 200;
const MOST_BYTES_IN_A_PAGE = 16 * 2 ** 20;
const MOST_SESSIONS = 1_000;
const MOST_OPERATIONS_IN_A_SESSION = 200;
const IDLE_SESSION_MS = 60 * 60_000;
const IDLE_OPERATION_MS = 15 * 60_000;
// `TOperationType` of TCLIService.
const TYPE = { statement: 0, typeInfo: 1, catalogs: 2, schemas: 3, tables: 4, tableTypes: 5, columns: 6, functions: 7, other: 8 } as const;
// `TGetInfoType` of TCLIService, as far as it is answered.
const INFO: Record<number, string> = { 13: 'Spark SQL', 17: 'Spark SQL', 29: '`' };
const DBMS_VERSION = 18;

/** TCLIService: every call's answer is a plain object that the generated code writes; errors are statuses, never throws. */
export function createThriftHandler(spark: SparkConnect, log: Log) {
  const sessions = new Map<string, Session>();
  const operations = new Map<string, Running>();

  function sessionOf(handle: T.TSessionHandle): Session {
    const session = sessions.get(keyOf(handle?.sessionId));
    if (!session) throw invalidHandle('session');
    session.usedAt = Date.now();
    return session;
  }

  function runningOf(handle: T.TOperationHandle): Running {
    const running = operations.get(keyOf(handle?.operationId));
    if (!running) throw invalidHandle('operation');
    running.usedAt = running.session.usedAt = Date.now();
    return running;
  }

  function register(session: Session, operation: Operation, operationType: number): Running {
    if (session.operations.size >= MOST_OPERATIONS_IN_A_SESSION) throw sqlFailure('TOO_MANY_OPERATIONS', '54000', 'Too many open operations in one session; close some.');
    const operationId = newHandle();
    const running = { operation, session, usedAt: Date.now(), handle: { operationId, operationType, hasResultSet: true } };
    operations.set(keyOf(operationId), running);
    session.operations.add(keyOf(operationId));
    return running;
  }

  function forget(running: Running): void {
    const key = keyOf(running.handle.operationId);
    operations.delete(key);
    running.session.operations.delete(key);
    if (running.operation.state !== 'ERROR') void running.operation.stop('CANCELED');
  }

  function forgetSession(session: Session): Promise<void> {
    sessions.delete(session.key);
    for (const key of session.operations) forget(operations.get(key)!);
    return session.spark.release();
  }

  async function answerWith(running: Running, direct: T.TSparkGetDirectResults | undefined) {
    const answer = { status: statusOf(), operationHandle: running.handle };
    if (!direct || !(await settledWithin(running.operation.settled, DIRECT_RESULTS_MS))) return answer;
    return { ...answer, directResults: await directResults(running, direct) };
  }

  async function directResults(running: Running, direct: T.TSparkGetDirectResults) {
    const { operation } = running;
    const status = { operationStatus: operationStatus(operation) };
    if (operation.state !== 'FINISHED') return status;
    const page = await operation.fetch(Number(direct.maxRows), pageBytes(direct.maxBytes)).catch(() => undefined);
    if (!page) return { operationStatus: operationStatus(operation) };
    const results = { ...status, resultSetMetadata: resultMetadata(operation), resultSet: fetchedResults(operation, page, false) };
    if (page.hasMore) return results;
    forget(running);
    return { ...results, closeOperation: { status: statusOf() } };
  }

  /** A call that makes an operation out of the catalog's facts. */
  function metadataCall(operationType: number, answer: (session: SparkSession, request: metadata.MetadataRequest) => Operation | Promise<Operation>) {
    return guarded(async (request: metadata.MetadataRequest & { sessionHandle: T.TSessionHandle; getDirectResults?: T.TSparkGetDirectResults }) => {
      const session = sessionOf(request.sessionHandle);
      return answerWith(register(session, await answer(session.spark, request), operationType), request.getDirectResults);
    });
  }

  const reaper = setInterval(() => {
    const now = Date.now();
    for (const running of operations.values()) if (now - running.usedAt > IDLE_OPERATION_MS && running.operation.state !== 'RUNNING') forget(running);
    for (const session of sessions.values()) {
      if (now - session.usedAt < IDLE_SESSION_MS || session.operations.size > 0) continue;
      log(`sql: session ${session.spark.id} was idle for an hour and is closed`);
      void forgetSession(session).catch(() => {});
    }
  }, 60_000);
  reaper.unref();

  const calls = {
    OpenSession: guarded(async (request: T.TOpenSessionReq) => {
      if (sessions.size >= MOST_SESSIONS) throw sqlFailure('TOO_MANY_SESSIONS', '53300', `There are ${MOST_SESSIONS} open sessions already; close some.`);
      const { catalogName, schemaName } = request.initialNamespace ?? {};
      const opened = await openSqlSession(spark, { settings: request.configuration, catalog: catalogName, schema: schemaName });
      const sessionId = newHandle();
      sessions.set(keyOf(sessionId), { key: keyOf(sessionId), spark: opened, operations: new Set(), usedAt: Date.now() });
      const initialNamespace = { catalogName: catalogName ?? 'spark_catalog', schemaName: schemaName ?? 'default' };
      return { status: statusOf(), serverProtocolVersion: PROTOCOL_VERSION, sessionHandle: { sessionId }, configuration: {}, canUseMultipleCatalogs: true, initialNamespace };
    }, { serverProtocolVersion: PROTOCOL_VERSION }),
    CloseSession: guarded(async (request: T.TCloseSessionReq) => {
      await forgetSession(sessionOf(request.sessionHandle));
      return { status: statusOf() };
    }),
    ExecuteStatement: guarded(async (request: T.TExecuteStatementReq) => {
      const session = sessionOf(request.sessionHandle);
      const prepare = () => bindStatement(session.spark, request.statement, (request.parameters ?? []).map(parameterOf));
      const operation = startOperation(session.spark, prepare, request.useArrowNativeTypes ?? {});
      const running = register(session, operation, TYPE.statement);
      stopAfter(operation, Number(request.queryTimeout ?? 0));
      if (!request.runAsync && !request.getDirectResults) await operation.settled;
      return answerWith(running, request.getDirectResults);
    }),
    GetOperationStatus: guarded(async (request: T.TGetOperationStatusReq) => {
      const { operation } = runningOf(request.operationHandle);
      await settledWithin(operation.settled, LONG_POLL_MS);
      return operationStatus(operation);
    }),
    CancelOperation: guarded(async (request: T.TCancelOperationReq) => {
      await runningOf(request.operationHandle).operation.stop('CANCELED');
      return { status: statusOf() };
    }),
    CloseOperation: guarded(async (request: T.TCloseOperationReq) => {
      forget(runningOf(request.operationHandle));
      return { status: statusOf() };
    }),
    GetResultSetMetadata: guarded(async (request: T.TGetResultSetMetadataReq) => {
      const { operation } = runningOf(request.operationHandle);
      await operation.settled;
      if (operation.failure) throw operation.failure;
      return resultMetadata(operation);
    }),
    FetchResults: guarded(async (request: T.TFetchResultsReq) => {
      const { operation } = runningOf(request.operationHandle);
      const page = await operation.fetch(Number(request.maxRows), pageBytes(request.maxBytes));
      return fetchedResults(operation, page, request.includeResultSetMetadata === true);
    }),
    GetInfo: guarded(async (request: T.TGetInfoReq) => {
      const session = sessionOf(request.sessionHandle);
      const stringValue = request.infoType === DBMS_VERSION ? await session.spark.version() : INFO[request.infoType];
      if (stringValue === undefined) throw sqlFailure('UNSUPPORTED_INFO_TYPE', '0A000', `GetInfo has no answer for information type ${request.infoType}.`);
      return { status: statusOf(), infoValue: { stringValue } };
    }, { infoValue: {} }),
    GetCatalogs: metadataCall(TYPE.catalogs, metadata.getCatalogs),
    GetSchemas: metadataCall(TYPE.schemas, metadata.getSchemas),
    GetTables: metadataCall(TYPE.tables, metadata.getTables),
    GetTableTypes: metadataCall(TYPE.tableTypes, metadata.getTableTypes),
    GetColumns: metadataCall(TYPE.columns, metadata.getColumns),
    GetFunctions: metadataCall(TYPE.functions, metadata.getFunctions),
    GetTypeInfo: metadataCall(TYPE.typeInfo, metadata.getTypeInfo),
    GetPrimaryKeys: metadataCall(TYPE.other, metadata.getPrimaryKeys),
    GetCrossReference: metadataCall(TYPE.other, metadata.getCrossReference),
    GetDelegationToken: unsupported,
    CancelDelegationToken: unsupported,
    RenewDelegationToken: unsupported,
  };
  const stop = async () => {
    clearInterval(reaper);
    await Promise.allSettled([...sessions.values()].map(forgetSession));
  };
  return { calls, stop };
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

/** Drivers print the guid as a UUID, so it must be one: version 4, variant 1. */
function newHandle(): Handle {
  const guid = randomBytes(16);
  guid[6] = (guid[6]! & 0x0f) | 0x40;
  guid[8] = (guid[8]! & 0x3f) | 0x80;
  return { guid, secret: randomBytes(16) };
}

/** Guid and secret: whoever guesses the one still lacks the other. */
function keyOf(handle: Handle | undefined): string {
  return `${handle?.guid?.toString('hex')}/${handle?.secret?.toString('hex')}`;
}

function invalidHandle(what: string): SqlFailure {
  return sqlFailure('INVALID_HANDLE', 'HY000', `Invalid ${what} handle: it was closed, or has expired.`);
}
