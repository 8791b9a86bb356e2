import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename } from 'node:path';
import { Failure } from '../../errors.ts';

/** A port that the platform is about to give to `name`, and the environment variable that moves it. */
export type PortClaim = { port: number; name: string; variable: string };

/** Throws PORT_BUSY (who holds it, which variable moves it) unless 127.0.0.1:port can be bound now. */
export async function assertPortFree({ port, name, variable }: PortClaim): Promise<void> {
  const error = await tryBind(port);
  if (error === undefined) return;
  const holder = error.code === 'EADDRINUSE' ? await portHolder(port) : undefined;
  throw new Failure({
    code: 'PORT_BUSY',
    kind: 'usage',
    message: `port ${port} for ${name} (${variable}) is not free on 127.0.0.1 (${error.code ?? error.message})${holder ? `: held by ${holder}` : ''}`,
    hint: `stop that process, or move ${name} with ${variable}=PORT (STREAMGAUGE_PORT_OFFSET=1000 moves every port)`,
    cause: error,
  });
}

/** True while something accepts connections on 127.0.0.1:port, or keeps it from being bound. */
export async function portIsBusy(port: number): Promise<boolean> {
  return (await tryBind(port)) !== undefined;
}

function tryBind(port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', (error) => resolve(error));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(undefined)));
  });
}

/** `process 123 (java)` of the process that listens on the port; undefined where /proc does not say. */
async function portHolder(port: number): Promise<string | undefined> {
  const sockets = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const rows = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1);
    for (const row of rows) {
      const fields = row.trim().split(/\s+/);
      const [local, state, inode] = [fields[1], fields[3], fields[9]];
      // 0A is LISTEN.
      if (state === '0A' && Number.parseInt(local?.split(':')[1] ?? '', 16) === port) sockets.add(`socket:[${inode}]`);
    }
  }
  if (sockets.size === 0) return undefined;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (sockets.has(target)) return `process ${pid} (${await programOf(pid)})`;
    }
  }
  return undefined;
}

/** The program alone: the rest of a foreign command line may hold secrets. */
async function programOf(pid: string): Promise<string> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return basename(commandLine.split('\0')[0] ?? '') || 'unknown';
}
