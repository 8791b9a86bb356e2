/** Exit codes by kind of failure; `cli.ts` is the only place that turns one into `process.exitCode`. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  access: 3,
  remote: 4,
  deadline: 5,
  checkFailed: 6,
  /** `plan --detailed-exitcode`: there is something to do. */
  changes: 7,
  interrupted: 130,
} as const;

export type FailureKind = Exclude<keyof typeof EXIT, 'ok' | 'changes'>;

export type FailureFacts = {
  /** Stable, for scripts: SCREAMING_SNAKE, e.g. `TOPIC_NOT_FOUND`. */
  code: string;
  kind: FailureKind;
  /** What happened and where, one sentence, secrets already redacted. */
  message: string;
  /** What to do next: an imperative sentence with the exact command. */
  hint?: string;
  /** True only where whoever throws knows that the same call may succeed later. */
  retriable?: boolean;
  cause?: unknown;
};

/** The one error that streamgauge throws on purpose: everything a person or a script needs is a field of it. */
export class Failure extends Error {
  readonly code: string;
  readonly kind: FailureKind;
  readonly hint: string | undefined;
  readonly retriable: boolean;

  constructor(facts: FailureFacts) {
    super(facts.message, { cause: facts.cause });
    this.name = 'Failure';
    this.code = facts.code;
    this.kind = facts.kind;
    this.hint = facts.hint;
    this.retriable = facts.retriable ?? false;
  }

  get exitCode(): number {
    return EXIT[this.kind];
  }
}

/** Any thrown thing as one line, without the stack. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}

/** A string that must never be shown: interpolation, JSON and inspection print `[REDACTED]`; `reveal()` is the only way in. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[REDACTED]';
  }

  toJSON(): string {
    return '[REDACTED]';
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[REDACTED]';
  }
}
