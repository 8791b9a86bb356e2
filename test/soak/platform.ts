import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { poll } from '../../src/poll.ts';
import { repository } from '../config/bundle.ts';
import { killEngine } from '../local/engines.ts';

export type Target = 'spark' | 'broker' | 'brokers' | 'elasticsearch';

export type SoakedPlatform = {
  /** kill -9; undefined where it has not been up for long: the supervisor gives up what dies more than five times in three minutes. */
  kill(target: Target, number: number): Promise<string | undefined>;
  /** Resolves when everything that was killed is back. */
  settled(): Promise<void>;
  stop(): Promise<void>;
};

const LEAST_UP_MS = 25_000;
const NAMES: Record<Target, string> = { spark: 'Spark Connect', broker: 'Kafka broker', brokers: 'Kafka broker', elasticsearch: 'Elasticsearch' };

/** `streamgauge local` as a user runs it, in a process of its own. */
export async function openPlatform(root: string, offset: number, log: (line: string) => void): Promise<SoakedPlatform> {
  const { PATH = '', HOME = '', STREAMGAUGE_CACHE } = process.env;
  const env = { PATH, HOME, CI: 'true', STREAMGAUGE_PORT_OFFSET: String(offset), ...(STREAMGAUGE_CACHE ? { STREAMGAUGE_CACHE } : {}) };
  const child = spawn(process.execPath, [join(repository, 'src/cli.ts'), 'local'], { cwd: root, env, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'close').then(([code]) => log(`the platform ended with ${String(code)}${code === 0 ? '' : `: ${said.slice(-3000)}`}`));
  await poll({ what: 'the platform', deadlineMs: 300_000, intervalMs: 300 }, async () => {
    if (child.exitCode !== null) throw new Error(said);
    return said.includes('Ctrl-C stops it') ? true : undefined;
  });
  const stateDir = join(root, '.streamgauge', 'local');
  /** The last that the supervisor said of each engine that died. */
  const news = (): { name: string; isBack: boolean; at: number }[] => {
    const lines = readFileSync(join(stateDir, 'log', 'platform.log'), 'utf8').split('\n');
    const said = lines.map((line) => /^(\S+Z) (Spark Connect|Kafka broker \d|Elasticsearch) (ended|was not ready|is back)/.exec(line)).filter((match) => match !== null);
    return [...new Map(said.map(([, at = '', name = '', what]) => [name, { name, isBack: what === 'is back', at: Date.parse(at) }])).values()];
  };
  return {
    async kill(target, number) {
      const broker = target === 'broker' ? (number % 3) + 1 : undefined;
      const name = broker === undefined ? NAMES[target] : `${NAMES[target]} ${broker}`;
      if (news().some((one) => one.name.startsWith(name) && (!one.isBack || Date.now() - one.at < LEAST_UP_MS))) return undefined;
      const kill = target === 'broker' || target === 'brokers' ? killEngine(stateDir, 'broker', 'streamgauge', broker) : killEngine(stateDir, target);
      // One that is not there has died this moment.
      return kill.then(() => (broker === undefined ? target : `broker ${broker}`), () => undefined);
    },
    settled: () => poll({ what: 'everything to be back', deadlineMs: 300_000, intervalMs: 500 }, async () => (news().every(({ isBack }) => isBack) ? true : undefined)).then(() => undefined),
    async stop() {
      if (child.exitCode === null) child.kill('SIGINT');
      await ended;
    },
  };
}
