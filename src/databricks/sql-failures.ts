import { Failure, messageOf } from '../errors.ts';
import { networkCode, refused, unreachable } from './failures.ts';

type Status = { sqlState?: string | null; displayMessage?: string | null; errorMessage?: string | null };

/** What the SQL driver threw, as a Failure: Spark's own message and error class; refused credentials access, a lost endpoint remote. */
export function sqlFailure(host: string, path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const status = httpStatus(error);
  if (status === 404 || status === 400 || status === 501) return noSuchWarehouse(host, path, status, error);
  if (status !== undefined) return refused({ host, call: `POST ${path}`, status }, false);
  const answered = statementStatus(error);
  if (answered !== undefined) return statementFailure(answered, error);
  if (networkCode(error) !== undefined) return unreachable(host, error, false);
  return new Failure({ code: 'SQL_FAILED', kind: 'remote', message: `the SQL endpoint of ${host} failed: ${messageOf(error)}`, cause: error });
}

function noSuchWarehouse(host: string, path: string, status: number, cause: unknown): Failure {
  return new Failure({
    code: 'WAREHOUSE_NOT_FOUND',
    kind: 'remote',
    message: `${host} has no SQL endpoint at ${path} (HTTP ${status})`,
    hint: 'Correct the variable warehouse_id or DATABRICKS_HTTP_PATH; `databricks warehouses list` shows the ids.',
    cause,
  });
}

/** HTTP status of a THTTPException, or of the response that a retry gave up on. */
function httpStatus(error: unknown): number | undefined {
  const at = error as { statusCode?: unknown; payload?: { response?: { status?: unknown } } } | null;
  const status = at?.statusCode ?? at?.payload?.response?.status;
  return typeof status === 'number' ? status : undefined;
}

/** The server's own words: of a failed statement (with SQLSTATE), or of a refused call. */
function statementStatus(error: unknown): Status | undefined {
  const at = error as { name?: unknown; message?: string; response?: Status; errorCode?: unknown } | null;
  if (typeof at?.errorCode === 'string') return { ...at.response, errorMessage: at.response?.displayMessage || at.response?.errorMessage || at.message };
  return at?.name === 'Status Error' ? { errorMessage: at.message } : undefined;
}

function statementFailure(status: Status, cause: unknown): Failure {
  const message = status.errorMessage ?? 'the statement failed';
  const errorClass = /^\[([A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)*)\]/.exec(message)?.[1];
  const sqlState = status.sqlState || (/SQLSTATE: ([0-9A-Z]{5})/.exec(message)?.[1] ?? '');
  const denied = sqlState === '42501';
  // Classes 21 to 2F and 42: the statement itself, or the data it met, is at fault; asking again changes nothing.
  const theirs = /^(2[1-9A-F]|42|0A)/.test(sqlState);
  return new Failure({
    code: errorClass ?? (sqlState ? `SQLSTATE_${sqlState}` : 'SQL_FAILED'),
    kind: denied ? 'access' : theirs ? 'usage' : 'remote',
    message: message.trim(),
    hint: hintFor(errorClass, denied),
    cause: cause instanceof Error ? cause : undefined,
  });
}

function hintFor(errorClass: string | undefined, denied: boolean): string | undefined {
  if (denied) return 'Ask the owner of the table for SELECT on it.';
  if (errorClass === 'TABLE_OR_VIEW_NOT_FOUND' || errorClass === 'SCHEMA_NOT_FOUND') return 'The first run of the job makes the tables: `streamgauge deploy`, then `streamgauge run`.';
  return undefined;
}
