import { appendFileSync, closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';

/** What a task wrote is kept to its last 5 MiB, as on Databricks. */
const keptBytes = 5 * 2 ** 20;
const longestLine = 64 * 1024;

/** Where the output of each task is kept. */
export function taskLogs(stateDir: string): (taskRunId: number) => string {
  const folder = join(stateDir, 'task-logs');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return (taskRunId) => join(folder, `${taskRunId}.log`);
}

/** Secret values that must not be shown; grows while a task reads secrets. */
export type Redaction = { add(value: string): void; apply(text: string): string };

/** Replaces every value added, and each line of a value of several lines, by `[REDACTED]`. */
export function createRedaction(): Redaction {
  let values: string[] = [];
  return {
    add(value) {
      const parts = [value, ...value.split('\n').map((line) => line.trim()).filter((line) => line.length > 3)];
      values = [...new Set([...values, ...parts.filter((part) => part !== '')])].sort((a, b) => b.length - a.length);
    },
    apply: (text) => values.reduce((shown, value) => shown.replaceAll(value, '[REDACTED]'), text),
  };
}

/** Takes one output stream of a task; whole lines reach the file, redacted, so a value printed in pieces is still found. */
export function logWriter(file: string, redaction: Redaction): { write(chunk: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8');
  let pending = '';
  const emit = (text: string) => {
    if (text !== '') append(file, redaction.apply(text));
  };
  return {
    write(chunk) {
      pending += decoder.write(chunk);
      const end = Math.max(pending.lastIndexOf('\n'), pending.lastIndexOf('\r'), pending.length > longestLine ? pending.length - 1 : -1) + 1;
      emit(pending.slice(0, end));
      pending = pending.slice(end);
    },
    end() {
      emit(pending + decoder.end());
      pending = '';
    },
  };
}

/** A task's log so far, and whether its beginning is gone; empty where nothing was written. */
export function readTaskLog(file: string): { logs: string; logs_truncated: boolean } {
  if (!existsSync(file)) return { logs: '', logs_truncated: false };
  return { logs: lastBytes(file), logs_truncated: statSync(file).size >= keptBytes };
}

function append(file: string, text: string): void {
  appendFileSync(file, text, { mode: 0o600 });
  if (statSync(file).size <= 2 * keptBytes) return;
  writeFileSync(`${file}.new`, lastBytes(file), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function lastBytes(file: string): string {
  const handle = openSync(file, 'r');
  try {
    const { size } = fstatSync(handle);
    const buffer = Buffer.alloc(Math.min(size, keptBytes));
    readSync(handle, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8');
  } finally {
    closeSync(handle);
  }
}
