import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Runtime } from '../../../src/local/contract.ts';

/** A store of objects that Hadoop has a client of, simulated by somebody else's server. */
export type Store = {
  /** Of its URIs. */
  scheme: string;
  /** The setting that says where it listens. */
  endpoint: string;
  /**
   * What Hadoop must have to reach one that will listen on this port of 127.0.0.1; rejects where that, or the server, cannot be had. Its version is known
   * when the engines are there: what needs no Maven is brought beside them, Maven's work after theirs.
   */
  client(hadoop: Promise<string>, port: number): Promise<Client>;
  /** The store that these settings name, with an empty bucket. */
  start(place: Place): Promise<Bucket>;
};

export type Client = { jars: string[]; settings: Record<string, string> };

export type Place = {
  runtime: Pick<Runtime, 'python'>;
  settings: Record<string, string>;
  /** The platform's: it holds its authority, and certificates for 127.0.0.1. */
  stateDir: string;
  /** For what the server writes beside its objects. */
  folder: string;
};

export type Bucket = {
  /** `s3a://BUCKET` */
  uri: string;
  /** What lets its client in; undefined where that needs nothing. */
  secret: string | undefined;
  /** Keys of the objects that begin so, in order, without those that stand for folders. */
  keys(prefix?: string): Promise<string[]>;
  read(key: string): Promise<Buffer>;
  write(key: string, content: Buffer): Promise<void>;
  remove(key: string): Promise<void>;
  stop(): Promise<void>;
};

/** A child process that has printed a line with `ready` in it; each ends with its standard input. */
export async function startServer(command: string, args: string[], env: Record<string, string>, cwd: string, ready: string): Promise<() => Promise<void>> {
  const { PATH = '' } = process.env;
  const child = spawn(command, args, { cwd, env: { PATH, HOME: cwd, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'close');
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    if (!line.includes(ready)) continue;
    child.stdout.resume();
    // Not by a signal: at one, Azurite waits until every client has left.
    return async () => {
      child.stdin.end();
      await gone;
    };
  }
  throw new Error(`${args.join(' ')} did not start`);
}

/** A request that must succeed; its answer's content. */
export async function request(method: string, url: string, headers: Record<string, string> = {}, body?: Buffer): Promise<Buffer> {
  const answer = await fetch(url, { method, headers, body: body === undefined ? undefined : new Uint8Array(body) });
  if (!answer.ok) throw new Error(`${method} ${new URL(url).pathname}: ${answer.status} ${await answer.text()}`);
  return Buffer.from(await answer.arrayBuffer());
}

/** The key in a path, its slashes left. */
export function path(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}
