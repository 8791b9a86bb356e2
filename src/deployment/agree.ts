import { createInterface } from 'node:readline/promises';
import type { Context } from '../command.ts';
import { Failure } from '../errors.ts';

/** Asks on the terminal and returns only after "yes"; Failure NOT_CONFIRMED otherwise, or where there is no terminal. */
export async function agreed({ config, signal }: Context, question: string, verb: string): Promise<void> {
  if (config.ci || process.stdin.isTTY !== true) {
    throw new Failure({ code: 'NOT_CONFIRMED', kind: 'usage', message: `${question} There is no terminal to ask on`, hint: `Say that you mean it: streamgauge ${verb} -t ${config.target} --yes` });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} Only "yes" does it: `, { signal });
    if (answer.trim() !== 'yes') throw new Failure({ code: 'NOT_CONFIRMED', kind: 'usage', message: 'nothing was done' });
  } finally {
    terminal.close();
  }
}
