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

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const { port, close } = await occupiedPort();
  await close();
  return port;
}

/** A listening TCP server on a port of the system's choice, for tests that want a port to be busy. */
export async function occupiedPort(): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no TCP address');
  return { port: address.port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
