import type { Progress } from '../command.ts';

/**
 * One line of `--events`: what happens while a verb works, for a script. `version` changes when a field changes its meaning or
 * goes; new kinds and new fields may come at any time.
 */
export type Event = { version: 1; at: string; verb: string } & (
  | { kind: 'stage'; text: string }
  | { kind: 'update'; text: string }
  | { kind: 'note'; text: string }
  | { kind: 'warning'; text: string }
  | { kind: 'end'; exit_code: number; error?: unknown }
);

type Said = Event extends infer E ? (E extends Event ? Omit<E, 'version' | 'at' | 'verb'> : never) : never;

/** Progress as JSON, one object a line, and `finish` for the last line, which every invocation ends with. */
export function createEvents(sink: { write(text: string): unknown }, verb: string, now: () => Date = () => new Date()): Progress & { end(): void; finish(exitCode: number, error?: unknown): void } {
  const say = (said: Said): void => void sink.write(`${JSON.stringify({ version: 1, at: now().toISOString(), verb, ...said })}\n`);
  return {
    stage: (text) => say({ kind: 'stage', text }),
    update: (text) => say({ kind: 'update', text }),
    note: (text) => say({ kind: 'note', text }),
    warn: (text) => say({ kind: 'warning', text }),
    end: () => undefined,
    finish: (exit_code, error) => say({ kind: 'end', exit_code, ...(error === undefined ? {} : { error }) }),
  };
}
