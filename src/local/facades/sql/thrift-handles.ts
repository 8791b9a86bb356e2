import { randomBytes } from 'node:crypto';
import type { THandleIdentifier, TOperationHandle, TSessionHandle } from '@databricks/sql/thrift/TCLIService_types.js';
import type { SparkSession } from '../../spark-connect/client.ts';
import { sqlFailure } from '../../spark-connect/errors.ts';
import type { Operation } from './operation.ts';
import { createShelf } from './shelf.ts';

type Session = { key: string; spark: SparkSession; operations: Set<string> };
type Running = { key: string; operation: Operation; session: Session };

const SESSIONS = { idleMs: 60 * 60_000, most: 1_000 };
const OPERATIONS = { idleMs: 15 * 60_000, most: 2_000 };

/** Sessions and their operations by the handles that clients have of them; one that is unknown throws INVALID_HANDLE. */
export type Handles = ReturnType<typeof createHandles>;

export function createHandles() {
  const operations = createShelf<Running>({
    ...OPERATIONS,
    isInUse: ({ operation }) => operation.state === 'RUNNING',
    letGo: async ({ key, operation, session }) => {
      session.operations.delete(key);
      sessions.get(session.key); // used until now
      await operation.stop('CANCELED');
    },
  });
  const sessions = createShelf<Session>({
    ...SESSIONS,
    isInUse: (session) => session.operations.size > 0,
    letGo: async (session) => {
      await Promise.all([...session.operations].map(operations.remove));
      await session.spark.release();
    },
  });
  const sessionOf = (handle: TSessionHandle) => sessions.get(keyOf(handle?.sessionId)) ?? invalid('session');
  const runningOf = (handle: TOperationHandle) => operations.get(keyOf(handle?.operationId)) ?? invalid('operation');
  return {
    addSession: (spark: SparkSession): TSessionHandle => {
      const sessionId = newIdentifier();
      const key = keyOf(sessionId);
      if (!sessions.put(key, { key, spark, operations: new Set() })) {
        void spark.release().catch(() => {});
        throw sqlFailure('TOO_MANY_SESSIONS', '53300', 'Too many sessions are open; close some.');
      }
      return { sessionId };
    },
    session: (handle: TSessionHandle) => sessionOf(handle).spark,
    closeSession: (handle: TSessionHandle) => sessions.remove(sessionOf(handle).key),
    addOperation: (handle: TSessionHandle, operation: Operation, operationType: number): TOperationHandle => {
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
    operation: (handle: TOperationHandle) => runningOf(handle).operation,
    closeOperation: (handle: TOperationHandle) => operations.remove(runningOf(handle).key),
    stop: sessions.stop,
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
