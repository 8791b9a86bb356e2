import { pause } from '../poll.ts';
import type { Workspace } from './client.ts';
import { attemptsOf, outcomeOf } from './outcome.ts';
import { getRun, getRunOutput } from './rest.ts';

export type LogsOptions = { follow: boolean; signal?: AbortSignal; pauseMs?: number };

/**
 * What the tasks of a run wrote, attempt by attempt, each under its name; with `follow` to the run's end, piece by piece.
 * Databricks keeps the last 5 MB of an attempt, and of notebooks only their exit value and error.
 */
export async function* runLogs(workspace: Workspace, runId: number, { follow, signal, pauseMs = 1000 }: LogsOptions): AsyncGenerator<string, void, undefined> {
  const shown = new Map<number, string>();
  let heading: number | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const run = await getRun(workspace, runId);
    const ended = outcomeOf(run.state) !== undefined;
    for (const attempt of attemptsOf(run)) {
      if (attempt.seconds === 0 && attempt.outcome === undefined) continue;
      const output = await getRunOutput(workspace, attempt.runId);
      const end = attempt.outcome === undefined ? '' : [output.notebook_output?.result, output.logs?.includes(output.error ?? '\u0000') ? undefined : output.error].filter((part) => part !== undefined && part !== '').map((part) => `${part}\n`).join('');
      const text = (output.logs ?? '') + end;
      const news = grown(shown.get(attempt.runId) ?? '', text);
      shown.set(attempt.runId, text);
      if (news === '') continue;
      if (heading !== attempt.runId) yield `== ${attempt.task}${attempt.attempt === 0 ? '' : `, attempt ${attempt.attempt + 1}`}\n`;
      heading = attempt.runId;
      yield news.endsWith('\n') ? news : `${news}\n`;
    }
    if (ended || !follow) return;
    await pause(pauseMs, signal);
  }
}

/** What is new in a log that grows at its end and may lose its beginning. */
export function grown(before: string, now: string): string {
  if (now.startsWith(before)) return now.slice(before.length);
  for (let from = Math.max(0, before.length - now.length); from < before.length; from = before.indexOf('\n', from) + 1 || before.length) {
    if (now.startsWith(before.slice(from))) return now.slice(before.length - from);
  }
  return now;
}
