import { beforeAll, describe, expect, it } from 'vitest';
import { manual } from '../scripts/manual.ts';
import { parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import { Failure } from '../src/errors.ts';
import { failureJson } from '../src/report/failure.ts';
import { quickAnswer, type Manual } from '../src/quick.ts';

let written: Manual;
beforeAll(async () => {
  written = await manual();
});

/** What the whole program answers: a text, a mistake's exit code, or undefined where a verb would run. */
async function slowAnswer(argv: string[]): Promise<{ text?: string; failure?: Failure; code: number } | undefined> {
  try {
    const parsed = await parseArguments(argv, VERBS);
    return parsed.kind === 'text' ? { text: `${parsed.text}`, code: 0 } : undefined;
  } catch (error) {
    if (error instanceof Failure) return { failure: error, code: error.exitCode };
    throw error;
  }
}

describe('the quick answer is the whole program\'s', () => {
  it.each([[[]], [['--help']], [['-h']], [['--version']], [['plan', '--help']], [['run', '-h']], [['produce', '--help']]])('%j: the same text', async (argv) => {
    expect(quickAnswer(argv, written)).toEqual({ stdout: (await slowAnswer(argv))?.text, code: 0 });
  });

  it.each([
    ['fly'], ['fly', 'away', '-t', 'x'], ['__proto__', 'x'], ['plan', '--nope'], ['plan', '-t', 'prod', '--nope=1'], ['plan', '--nope', 'x', '--nix'], ['run', 'follow', '12', '--dry-run'], ['deploy', '--plan', 'f', '--yess'], ['plan', '-x'],
    ['plan', '--out'], ['plan', '--out', '--json'], ['plan', '-t', 'prod', '--var', 'a=b', '--out', '--x'], ['plan', '-t'],
    ['query'], ['rollback'], ['import'], ['explain', '--recompute'], ['plan', 'twice'], ['run', 'follow', '12', '13', '14'],
    ['run', 'fly'], ['backup', 'fly'], ['import', 'cluster', '1'], ['quarantine', 'fly'], ['local', 'fly'],
    ['produce', '--records', 'many'], ['produce', '--records', '0'], ['produce', '--records', '1.5'], ['produce', '--bad-ratio=2'], ['produce', '--rate', '-1'], ['produce', '--seed', '0.5'], ['query', 'SELECT 1', '--limit', '0'], ['run', '--timeout', '0'],
    ['plan', '-t', 'a', '--target', 'b'], ['deploy', '--plan=a', '--plan=b'], ['query', 'SELECT 1', '--csv', '--json'], ['plan', '--', 'x'],
    ['plan', '--nope', '--json'], ['fly', '--json'],
  ].map((argv) => [argv]))('%j: the same mistake, with the same exit code and the same document', async (argv) => {
    const [answer, slow] = [quickAnswer(argv, written), await slowAnswer(argv)];
    expect([answer?.code, slow?.code]).toEqual([2, 2]);
    expect(answer?.stderr).toMatch(/^error: .*\nhint: See `streamgauge.*--help`\.$/);
    const [quick, whole] = [answer?.stderr?.split('\n')[0], `error: ${slow?.failure?.message}`];
    // Where several things are wrong, each may name another; and only the quick answer says what was probably meant.
    expect(quick).toBe(/yess|fly|nix|dry-run|-t$|out --|--x|__proto__/.test(argv.join(' ')) ? quick : whole);
    const document = argv.includes('--json') ? Object.keys((failureJson(slow?.failure) as any).error) : undefined;
    expect(answer?.stdout && Object.keys(JSON.parse(answer.stdout).error)).toEqual(document);
  });

  it.each([
    [['plan']], [['plan', '-t', 'prod', '--out', 'f', '--var', 'a=b', '--var', 'c=d']], [['produce', '--seed', '-5']], [['local', '--', 'x', '--nope']], [['run', 'follow', '12']], [['deploy', '-y']], [['plan', '--no-json']], [['query', 'SELECT 1', '--csv']], [['fly', '--events']], [['plan', '--help', '--nope']],
  ])('%j: none, the whole program decides', (argv) => expect(quickAnswer(argv, written)).toBeUndefined());

  it('a verb that is nearly right is named', () => {
    expect(quickAnswer(['plam'], written)?.stderr).toContain('did you mean plan?');
    expect(quickAnswer(['xyzzy'], written)?.stderr).not.toContain('did you mean');
  });
});
