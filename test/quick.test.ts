import { beforeAll, describe, expect, it } from 'vitest';
import { manual } from '../scripts/manual.ts';
import { parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import { Failure } from '../src/errors.ts';
import { quickAnswer, type Manual } from '../src/quick.ts';

let written: Manual;
beforeAll(async () => {
  written = await manual();
});

/** What the whole program answers: a text, a mistake's exit code, or undefined where a verb would run. */
async function slowAnswer(argv: string[]): Promise<{ text?: string; code: number } | undefined> {
  try {
    const parsed = await parseArguments(argv, VERBS);
    return parsed.kind === 'text' ? { text: `${parsed.text}`, code: 0 } : undefined;
  } catch (error) {
    if (error instanceof Failure) return { code: error.exitCode };
    throw error;
  }
}

describe('the quick answer is the whole program\'s', () => {
  it.each([[[]], [['--help']], [['-h']], [['--version']], [['plan', '--help']], [['run', '-h']], [['produce', '--help']]])('%j: the same text', async (argv) => {
    expect(quickAnswer(argv, written)).toEqual({ stream: 'stdout', text: (await slowAnswer(argv))?.text, code: 0 });
  });

  it.each([[['fly']], [['plan', '--nope']], [['plan', '-t', 'prod', '--nope=1']], [['run', 'follow', '12', '--dry-run']], [['deploy', '--plan', 'f', '--yess']]])('%j: the same exit code, and the word that is wrong', async (argv) => {
    const answer = quickAnswer(argv, written);
    expect(answer).toMatchObject({ stream: 'stderr', code: (await slowAnswer(argv))?.code, text: expect.stringMatching(/^error: .*\nhint: See `streamgauge/) });
    expect(answer?.text).toMatch(/fly|nope|dry-run|yess/);
  });

  it.each([
    [['plan']], [['plan', '-t', 'prod', '--var', 'a=b', '--out', '--x']], [['produce', '--records', 'many']], [['fly', '--json']], [['local', '--', 'x', '--nope']], [['run', 'follow', '12']], [['deploy', '-y']], [['plan', '--no-json']], [['plan', '-x']], [['query', 'SELECT 1', '--csv']], [['__proto__', 'x']],
  ])('%j: none, the whole program decides', (argv) => expect(quickAnswer(argv, written)).toBeUndefined());

  it('a verb that is nearly right is named', () => {
    expect(quickAnswer(['plam'], written)?.text).toContain('did you mean plan?');
    expect(quickAnswer(['xyzzy'], written)?.text).not.toContain('did you mean');
  });
});
