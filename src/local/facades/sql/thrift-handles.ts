import { randomBytes } from 'node:crypto';
import type { THandleIdentifier, TOperationHandle, TSessionHandle } from '@databricks/sql/thrift/TCLIService_types.js';
import type { SparkSession } from '../../spark-connect/client.ts';
import { sqlFailure } from '../../spark-connect/errors.ts';
import type { Operation } from './operation.ts';
import { createShelf } from './shelf.ts';

type Session = { key: string; spark: SparkSession; operations: Set<string> };
type Running = { key: string; operation: Operation; session: Session };

/** Sessions and their operations by the handles that clients have of them. */
export type Handles = {
  addSession(spark: SparkSession): TSessionHandle;
  /** Throws INVALID_HANDLE, as all do that take a handle. */
  session(handle: TSessionHandle): SparkSession;
  closeSession(handle: TSessionHandle): Promise<void>;
  addOperation(handle: TSessionHandle, operation: Operation, operationType: number): TOperationHandle;
  operation(handle: TOperationHandle): Operation;
  closeOperation(handle: TOperationHandle): Promise<void>;
  sweep(): void;
  stop(): Promise<void>;
};

const SESSIONS = { idleMs: 60 * 60_000, most: 1_000 };
const OPERATIONS = { idleMs: 15 * 60_000, most: 2_000 };

export function createHandles(now = Date.now): Handles {
  const operations = createShelf<Running>({
    ...OPERATIONS,
    now,
    isInUse: ({ operation }) => operation.state === 'RUNNING',
    letGo: async ({ key, operation, session }) => {
      session.operations.delete(key);
      await operation.stop('CANCELED');
    },
  });
  const sessions = createShelf<Session>({
    ...SESSIONS,
    now,
    isInUse: (session) => session.operations.size > 0,
    letGo: async (session) => {
      for (const key of session.operations) void operations.remove(key);
      await session.spark.release();
    },
  });
  const sessionOf = (handle: TSessionHandle) => sessions.get(keyOf(handle?.sessionId)) ?? invalid('session');
  const runningOf = (handle: TOperationHandle) => {
    const running = operations.get(keyOf(handle?.operationId)) ?? invalid('operation');
    sessions.get(running.session.key); // used as well
    return running;
  };
  return {
    addSession: (spark) => {
      const sessionId = newIdentifier();
      const key = keyOf(sessionId);
      if (!sessions.put(key, { key, spark, operations: new Set() })) throw sqlFailure('TOO_MANY_SESSIONS', '53300', 'Too many sessions are open; close some.');
      return { sessionId };
    },
    session: (handle) => sessionOf(handle).spark,
    closeSession: (handle) => sessions.remove(sessionOf(handle).key),
    addOperation: (handle, operation, operationType) => {
      const session = sessionOf(handle);
      const operationId = newIdentifier();
      const key = keyOf(operationId);
      if (!operations.put(key, { key, operation, session })) {
        void operation.stop('CANCELED');
        throw sqlFailure('TOO_MANY_OPERATIONS', '54000', 'Too many statements are running; close some.');
      }
      session.operations.add(key);
      return { operationId, operationType, hasResultSet: true };
    },
    operation: (handle) => runningOf(handle).operation,
    closeOperation: (handle) => operations.remove(runningOf(handle).key),
    sweep: () => {
      operations.sweep();
      sessions.sweep();
    },
    stop: async () => {
      await sessions.stop();
      await operations.stop();
    },
  };
}

/** Drivers print the guid as a UUID, so it must be one: version 4, variant 1. */
function newIdentifier(): THandleIdentifier {
  const guid = randomBytes(16);
  guid[6] = (guid[6]! & 0x0f) | 0x40;
  guid[8] = (guid[8]! & 0x3f) | 0x80;
  return { guid, secret: randomBytes(16) };
}

/** Guid and secret: whoever guesses the one still lacks the other. */
function keyOf(identifier: THandleIdentifier | undefined): string {
  return `${identifier?.guid?.toString('hex')}/${identifier?.secret?.toString('hex')}`;
}

function invalid(what: string): never {
  throw sqlFailure('INVALID_HANDLE', 'HY000', `Invalid ${what} handle: it was closed, or has expired.`);
}
