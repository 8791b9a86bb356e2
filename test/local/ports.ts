import { createServer } from 'node:net';
import { assertPortsFree, layOutPorts } from '../../src/local/ports.ts';

/** An offset at which every port of a platform is free now, far from the default's. */
export async function freePortOffset(): Promise<number> {
  for (let offset = 3000; offset < 30_000; offset += 500) {
    try {
      await assertPortsFree(layOutPorts({ offset }));
      return offset;
    } catch {
      // Taken: by another run of these tests, most likely.
    }
  }
  throw new Error('no free ports for a platform');
}

let asked = 0;

/** A port that nobody listens on now, another one at each call; not of those that the system gives to connections, one of which might have it by the time that somebody listens. */
export async function freePort(): Promise<number> {
  for (let n = 0; n < 6000; n += 1) {
    asked += 1;
    const port = 26_000 + ((process.pid * 7 + asked) % 6000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)));
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error('no free port');
}

/** A listening TCP server on a port of the system's choice, for tests that want a port to be busy. */
export async function occupiedPort(): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no TCP address');
  return { port: address.port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
