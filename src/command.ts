import type { Options } from 'yargs';
import type { Config } from './config/config.ts';
import type { Range } from './quick.ts';

/** What a long-running verb says on stderr while it works. */
export type Progress = {
  /** A named stage begins; ends the one before it. */
  stage(name: string): void;
  /** The current state of the running stage: replaces the last update on a terminal, throttled elsewhere. */
  update(text: string): void;
  /** A line that stays. */
  note(text: string): void;
  /** A line that stays, and that the user should act on. */
  warn(text: string): void;
};

/** Everything a verb may reach: no globals. */
export type Context = {
  config: Config;
  progress: Progress;
  /** Aborted by SIGINT or SIGTERM: stop what was started, leave nothing half-written. */
  signal: AbortSignal;
};

/** A part of a verb's result for a person; `report/` turns it into text. */
export type Block =
  | { kind: 'facts'; title?: string; facts: [name: string, value: string | number | bigint | null][] }
  | { kind: 'table'; title?: string; columns: string[]; rows: (string | number | bigint | null)[][]; more?: string }
  | { kind: 'text'; text: string };

/** One verb: `run` computes a plain JSON value and prints nothing; `render` says it to a person. */
export type Command<O = Record<string, unknown>, R = unknown> = {
  name: string;
  /** Positional arguments as yargs spells them, e.g. `<sql>` or `[action]`. */
  positionals?: string;
  summary: string;
  examples: [command: string, explanation: string][];
  options: { [K in keyof O]?: Options };
  /** What the first positional may be, where the verb does several things. */
  actions?: readonly string[];
  /** Bounds of numbers, by option: a value outside is refused before anything is loaded. */
  ranges?: { [K in keyof O]?: Range };
  /** The variables that the verb reads, where these are few: it runs with a bundle that declares no other. */
  reads?: readonly string[];
  /** The verb starts what `.streamgauge/<target>.env` describes, so that file need not be there yet. */
  makesEnvironment?: boolean;
  /** What stands after `--` is a command for the verb: it arrives as `options.command`. */
  takesCommand?: boolean;
  run(context: Context, options: O): Promise<R>;
  /** Blocks, or the text itself piece by piece where a result is too large to hold. */
  render(result: R): Block[] | AsyncIterable<string>;
  /** With `--json`, in place of the whole result as one document; for results too large to hold. */
  json?(result: R): AsyncIterable<string>;
  /** The exit code of a run that ended without a throw; 0 unless this says otherwise. */
  exitCode?(result: R): number;
};
