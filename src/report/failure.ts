import { EXIT, Failure, messageOf } from '../errors.ts';

/** What a person reads when a verb fails: what, where, why (the chain of causes), and what to do next. */
export function renderFailure(error: unknown): string {
  const known = error instanceof Failure;
  const head = known ? `error: ${error.message}` : `unexpected error: ${messageOf(error)}`;
  const causes = causeLines(error, known ? error.message : messageOf(error));
  const stack = known || !(error instanceof Error) ? [] : (error.stack ?? '').split('\n').slice(1);
  const hint = known && error.hint !== undefined ? [`hint: ${error.hint}`] : [];
  return [head, ...causes, ...stack, ...hint].join('\n');
}

/** The same for a script: one JSON object. */
export function failureJson(error: unknown): Record<string, unknown> {
  const unexpected = { code: 'UNEXPECTED', kind: 'unexpected', message: messageOf(error), hint: undefined, exitCode: EXIT.unexpected };
  const { code, kind, message, hint, exitCode } = error instanceof Failure ? error : unexpected;
  return { error: { code, kind, message, hint, exit_code: exitCode, causes: causes(error).map(messageOf) } };
}

function causes(error: unknown): unknown[] {
  const chain: unknown[] = [];
  for (let next = error instanceof Error ? error.cause : undefined; next !== undefined && next !== null && chain.length < 5; next = next instanceof Error ? next.cause : undefined) chain.push(next);
  return chain;
}

/** Causes that add something: a message already contained in the one above it is left out. */
function causeLines(error: unknown, head: string): string[] {
  let said = head;
  return causes(error).flatMap((cause) => {
    const text = firstLine(messageOf(cause));
    if (text === '' || said.includes(text)) return [];
    said += text;
    return [`  cause: ${text}`];
  });
}

function firstLine(text: string): string {
  const line = text.split('\n')[0] ?? '';
  return line.length > 500 ? `${line.slice(0, 500)}…` : line;
}
