import { createInterface } from 'node:readline/promises';
import type { Context } from '../command.ts';
import { Failure } from '../errors.ts';

/** Asks on the terminal and returns only after "yes"; Failure NOT_CONFIRMED otherwise, or where there is no terminal. */
export async function agreed(context: Context, question: string, verb: string): Promise<void> {
  const { signal } = context;
  mustHaveTerminal(context, question, verb);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} Only "yes" does it: `, { signal });
    if (answer.trim() !== 'yes') throw new Failure({ code: 'NOT_CONFIRMED', kind: 'usage', message: 'nothing was done' });
  } finally {
    terminal.close();
  }
}

/** Failure NOT_CONFIRMED where there is no terminal, or nobody at it. */
export function mustHaveTerminal({ config }: Pick<Context, 'config'>, question: string, verb: string): void {
  if (!config.ci && process.stdin.isTTY === true) return;
  throw new Failure({ code: 'NOT_CONFIRMED', kind: 'usage', message: `${question} There is no terminal to ask on`, hint: `Say that you mean it: streamgauge ${verb} -t ${config.target} --yes` });
}
