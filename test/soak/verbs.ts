import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { pause } from '../../src/poll.ts';
import { repository } from '../config/bundle.ts';

type Ended = { code: number | null; result: any; stderr: string };

export type Verbs = {
  /** Runs a verb as a user does; `result` is its JSON, `code` null where it was killed. An exit code that no fault explains becomes a finding. */
  run(args: string[]): Promise<Ended>;
  /** The same until it succeeds, some times over. */
  must(args: string[]): Promise<any>;
  /** kill -9 of one of the controllers at work; says which. */
  kill(number: number): string | undefined;
  findings: string[];
  summary(): string;
};

/** An engine was away (4), the time was up (5), a check failed because of that or was made to (6): what a fault may lead to. */
const EXPLAINED = [0, 4, 5, null];

export function openVerbs(root: string, log: (line: string) => void): Verbs {
  const atWork = new Map<ChildProcess, string>();
  const counted = new Map<string, number>();
  const findings: string[] = [];

  async function run(args: string[]): Promise<Ended> {
    const { PATH = '', HOME = '' } = process.env;
    const child = spawn(process.execPath, [join(repository, 'src/cli.ts'), ...args, '-t', 'local', '--json'], { cwd: root, env: { PATH, HOME, CI: 'true' }, stdio: ['ignore', 'pipe', 'pipe'] });
    atWork.set(child, args[0] as string);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    atWork.delete(child);
    const name = `${args[0]} ${code ?? 'killed'}`;
    counted.set(name, (counted.get(name) ?? 0) + 1);
    const result = parsed(stdout);
    if (code !== 0 && code !== null) log(`${args[0]} ended with ${code}: ${String(result.error?.message ?? result.outcome?.meaning ?? stderr).slice(0, 300)}`);
    if (!EXPLAINED.includes(code) && args[0] !== 'prove') findings.push(`${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
    return { code, result, stderr };
  }

  return {
    run,
    async must(args) {
      for (let attempt = 1; ; attempt += 1) {
        const { code, result, stderr } = await run(args);
        if (code === 0) return result;
        if (attempt === 4) throw new Error(`${args.join(' ')} did not succeed, at last ${code}: ${JSON.stringify(result).slice(0, 2000)} ${stderr.slice(-2000)}`);
        await pause(3000);
      }
    },
    kill(number) {
      const all = [...atWork];
      const [child, name] = all[number % Math.max(all.length, 1)] ?? [];
      return child?.kill('SIGKILL') === true ? `the controller of ${name}` : undefined;
    },
    findings,
    summary: () => [...counted].toSorted().map(([name, count]) => `${name}: ${count}`).join(', '),
  };
}

function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
