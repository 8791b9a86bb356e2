import { randomBytes } from 'node:crypto';
import type { TOperationHandle, TSessionHandle } from '@databricks/sql/thrift/TCLIService_types.js';
import type { Log } from '../../contract.ts';
import type { Operation } from './operation.ts';
import type { SparkSession } from './spark-connect.ts';
import { sqlFailure, type SqlFailure } from './spark-errors.ts';

type Handle = { guid: Buffer; secret: Buffer };
export type Session = { key: string; spark: SparkSession; operations: Set<string>; usedAt: number };
export type Running = { operation: Operation; session: Session; handle: TOperationHandle; usedAt: number };

/** Sessions and operations by their handles; what nobody uses any more goes by itself. */
export type Registry = {
  addSession(spark: SparkSession): TSessionHandle;
  /** Throws INVALID_HANDLE, as `operation` does. */
  session(handle: TSessionHandle): Session;
  closeSession(session: Session): Promise<void>;
  addOperation(session: Session, operation: Operation, operationType: number): Running;
  operation(handle: TOperationHandle): Running;
  closeOperation(running: Running): void;
  full(): boolean;
  stop(): Promise<void>;
};

const MOST_SESSIONS = 1_000;
const MOST_OPERATIONS_IN_A_SESSION = 200;
const IDLE_SESSION_MS = 60 * 60_000;
const IDLE_OPERATION_MS = 15 * 60_000;

export function createRegistry(log: Log): Registry {
  const sessions = new Map<string, Session>();
  const operations = new Map<string, Running>();

  const registry: Registry = {
    addSession: (spark) => {
      const sessionId = newHandle();
      const key = keyOf(sessionId);
      sessions.set(key, { key, spark, operations: new Set(), usedAt: Date.now() });
      return { sessionId };
    },
    session: (handle) => {
      const session = sessions.get(keyOf(handle?.sessionId));
      if (!session) throw invalidHandle('session');
      session.usedAt = Date.now();
      return session;
    },
    closeSession: (session) => {
      sessions.delete(session.key);
      for (const key of session.operations) registry.closeOperation(operations.get(key)!);
      return session.spark.release();
    },
    addOperation: (session, operation, operationType) => {
      if (session.operations.size >= MOST_OPERATIONS_IN_A_SESSION) {
        throw sqlFailure('TOO_MANY_OPERATIONS', '54000', 'Too many open operations in one session; close some.');
      }
      const operationId = newHandle();
      const running = { operation, session, usedAt: Date.now(), handle: { operationId, operationType, hasResultSet: true } };
      operations.set(keyOf(operationId), running);
      session.operations.add(keyOf(operationId));
      return running;
    },
    operation: (handle) => {
      const running = operations.get(keyOf(handle?.operationId));
      if (!running) throw invalidHandle('operation');
      running.usedAt = running.session.usedAt = Date.now();
      return running;
    },
    closeOperation: ({ handle, session, operation }) => {
      const key = keyOf(handle.operationId);
      operations.delete(key);
      session.operations.delete(key);
      void operation.stop('CANCELED');
    },
    full: () => sessions.size >= MOST_SESSIONS,
    stop: async () => {
      clearInterval(reaper);
      await Promise.allSettled([...sessions.values()].map(registry.closeSession));
    },
  };

  const reaper = setInterval(() => {
    const now = Date.now();
    for (const running of operations.values()) {
      if (running.operation.state !== 'RUNNING' && now - running.usedAt > IDLE_OPERATION_MS) registry.closeOperation(running);
    }
    for (const session of sessions.values()) {
      if (session.operations.size > 0 || now - session.usedAt < IDLE_SESSION_MS) continue;
      log(`sql: session ${session.spark.id} was idle for an hour and is closed`);
      void registry.closeSession(session).catch(() => {});
    }
  }, 60_000);
  reaper.unref();
  return registry;
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
