/** One record of an input: ready to send, or why it is not. `line` counts from 1 and is the line it starts on. */
export type InputRow = { line: number; key: string | null; value: Buffer | string } | { line: number; error: string };

/** What is told of a record that was skipped. */
export type SkippedRow = Extract<InputRow, { error: string }>;
