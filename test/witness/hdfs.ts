import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Runtime } from '../../src/local/contract.ts';
import { ifReachable } from './cache.ts';
import { jar } from './maven.ts';
import { hadoopVersion } from './stores/hadoop.ts';

export type Hdfs = {
  /** `hdfs://127.0.0.1:PORT` */
  uri: string;
  /** `hadoop fs ARGS`: its output; rejects where it fails. */
  fs(...args: string[]): Promise<string>;
  stop(): Promise<void>;
};

/** The jar with HDFS's servers, in the version of Spark's own client; undefined, and said so, where it cannot be had. */
export async function hdfsJar(runtime: Runtime): Promise<string | undefined> {
  return ifReachable('HDFS', jar(`org.apache.hadoop:hadoop-client-minicluster:${hadoopVersion(runtime)}`));
}

/** One NameNode and one DataNode in a process of their own, with nothing but loopback, in a folder that goes with them. */
export async function startHdfs({ java, sparkHome }: Runtime, servers: string): Promise<Hdfs> {
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-hdfs-'));
  const jars = globSync('{hadoop-client-api,hadoop-client-runtime,slf4j-api,jcl-over-slf4j,commons-logging}-*.jar', { cwd: join(sparkHome, 'jars') }).map((name) => join(sparkHome, 'jars', name));
  const flags = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', `-Djava.io.tmpdir=${folder}`, '-cp', [servers, ...jars].join(delimiter)];
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(java, [...flags, join(import.meta.dirname, 'Hdfs.java'), folder], { env: { PATH, HOME }, cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
  const gone = once(child, 'close');
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  child.stdin.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  /** What is printed up to the line that begins with `word`, and the rest of that line. */
  async function until(word: string): Promise<{ before: string[]; rest: string }> {
    for (const before: string[] = []; ; ) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`HDFS ended\n${complaints}`);
      if (value.startsWith(`${word} `)) return { before, rest: value.slice(word.length + 1) };
      before.push(value);
    }
  }

  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { rest: uri } = await until('ready');
    const fs = async (...args: string[]): Promise<string> => {
      complaints = '';
      child.stdin.write(`${args.join('\t')}\n`);
      const { before, rest } = await until('ended');
      if (rest !== '0') throw new Error(`hadoop fs ${args.join(' ')} ended with ${rest}\n${complaints}`);
      return before.join('\n');
    };
    return { uri, fs, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
