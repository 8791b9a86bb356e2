import { status as grpcStatus, type ServiceError } from '@grpc/grpc-js';
import { Failure, messageOf } from '../../errors.ts';

/** An error of a statement as Spark reports it: `code` is Spark's error class, `sqlState` five characters. */
export type SqlFailure = Failure & { sqlState: string };

type Decoder<T> = { deserialize(bytes: Buffer): T };
export type ErrorDecoders = {
  status: Decoder<{ details?: { type_url: string; value: Buffer }[] }>;
  info: Decoder<{ metadata?: Record<string, string> }>;
};
type ErrorDetails = {
  root_error_idx?: number;
  errors?: { message: string; spark_throwable?: { error_class?: string; sql_state?: string } }[];
};

/** Builds a failure with an error class and SQLSTATE of our own; the message is shown as it is. */
export function sqlFailure(code: string, sqlState: string, message: string, cause?: unknown): SqlFailure {
  return Object.assign(new Failure({ code, kind: 'remote', message, cause }), { sqlState });
}

/** Any thrown thing as a failure with a SQLSTATE. */
export function asSqlFailure(error: unknown): SqlFailure {
  if (error instanceof Failure && 'sqlState' in error) return error as SqlFailure;
  return sqlFailure('INTERNAL_ERROR', 'XX000', messageOf(error), error);
}

/** Translates a gRPC error: Spark's whole message, its error class and SQLSTATE, without plans and Java traces. */
export async function sparkFailure(
  thrown: unknown,
  decoders: ErrorDecoders,
  fetchDetails: (errorId: string) => Promise<unknown>,
): Promise<SqlFailure> {
  if (!isServiceError(thrown)) return asSqlFailure(thrown);
  const facts = errorInfo(thrown, decoders);
  // The status message is cut after 2,048 characters; the details have all of it.
  const details = facts.errorId ? ((await fetchDetails(facts.errorId).catch(() => ({}))) as ErrorDetails) : {};
  const root = details.errors?.[details.root_error_idx ?? 0];
  const code = facts.errorClass ?? root?.spark_throwable?.error_class;
  const sqlState = facts.sqlState ?? root?.spark_throwable?.sql_state ?? 'XX000';
  if (code) return sqlFailure(code, sqlState, readable(root?.message ?? thrown.details), thrown);
  if (thrown.code === grpcStatus.UNAVAILABLE) return sqlFailure('SPARK_UNAVAILABLE', '08006', `Spark Connect does not answer: ${thrown.details}`, thrown);
  if (thrown.code === grpcStatus.CANCELLED) return sqlFailure('OPERATION_CANCELED', 'HY008', 'The operation was cancelled.', thrown);
  return sqlFailure(grpcStatus[thrown.code] ?? 'UNKNOWN', sqlState, readable(root?.message ?? thrown.details), thrown);
}

/** Spark's message without the logical plan and the Java stack frames that some carry. */
export function readable(message: string): string {
  return message
    .replace(/(SQLSTATE: \w{5}(?:; line \d+ pos \d+)?);\n[^]*$/, '$1')
    .replace(/\n+(?:Driver stacktrace:|JVM stacktrace:)[^]*$/, '')
    .replace(/\n\s+at [\w.$]+[^\n]*/g, '')
    .trim();
}

function errorInfo(error: ServiceError, decoders: ErrorDecoders): Record<string, string> {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0];
  if (!Buffer.isBuffer(bytes)) return {};
  const detail = decoders.status.deserialize(bytes).details?.find((any) => any.type_url.endsWith('/google.rpc.ErrorInfo'));
  return detail ? (decoders.info.deserialize(detail.value).metadata ?? {}) : {};
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && typeof error.code === 'number';
}
