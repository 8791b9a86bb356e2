import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import type { Authority, Log } from '../contract.ts';
import { limit } from './refusal.ts';

export type HostOptions = {
  authority: Authority;
  port: number;
  /** Tried in this order; the last one answers for every path that the others have no route for. */
  apps: Hono[];
  log: Log;
  /** Bytes a request's body may have; 64 MiB unless given. */
  maxBodyBytes?: number;
  /** Connections held at a time; the idlest goes when one more comes. */
  maxConnections?: number;
};

/** A listening HTTPS server of façades. */
export type Host = { stop(): Promise<void> };

const MEBIBYTE = 2 ** 20;
/** Far beyond what clients open, far below what the process's memory and descriptors allow. */
const MOST_CONNECTIONS = 2_000;

/** Serves façades on https://127.0.0.1:port with the platform's certificate; resolves when it listens. */
export async function serveHttps(options: HostOptions): Promise<Host> {
  const { certFile, keyFile } = await options.authority.issue('streamgauge-https');
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  // With its own Request in the place of the global one: hono's body limit makes a Request of a Request, which only that one can.
  const listener = getRequestListener(mount(options).fetch, { overrideGlobalObjects: true });
  const server = createServer({ cert, key, minVersion: 'TLSv1.2', handshakeTimeout: 10_000 }, (request, response) => void listener(request, response));
  // Who is slow with the head or body of a request, or says nothing at all, has no claim on a connection.
  server.headersTimeout = 20_000;
  server.requestTimeout = 300_000;
  server.keepAliveTimeout = 75_000;
  limitConnections(server, options.maxConnections ?? MOST_CONNECTIONS);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: options.port, host: '127.0.0.1', backlog: 1024 }, resolve);
  });
  server.on('error', (error) => options.log(`HTTPS server on port ${options.port}: ${error.message}`));
  return {
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function mount({ apps, maxBodyBytes = 64 * MEBIBYTE }: HostOptions): Hono {
  const app = new Hono();
  app.use(limit(maxBodyBytes));
  for (const part of apps.slice(0, -1)) app.route('/', part);
  const last = apps.at(-1);
  // Whole, not route by route: what it says of an unknown path is its own.
  app.all('*', (c) => last?.fetch(c.req.raw, c.env) ?? c.notFound());
  return app;
}

/** Closes the connection that has been open longest without a request under way, rather than refuse the newest. */
function limitConnections(server: Server, most: number): void {
  // By the peer's port: a TLS socket does not name the TCP socket below it, and all peers are on this host.
  const open = new Map<number | undefined, { socket: Socket; requests: number }>();
  server.on('connection', (socket: Socket) => {
    const peer = socket.remotePort;
    open.set(peer, { socket, requests: 0 });
    socket.once('close', () => open.get(peer)?.socket === socket && open.delete(peer));
    const idlest = open.size > most ? open.entries().find(([, { requests }]) => requests === 0) : undefined;
    if (idlest && open.delete(idlest[0])) idlest[1].socket.destroy();
  });
  server.on('request', ({ socket: { remotePort } }, response) => {
    const connection = open.get(remotePort);
    if (connection === undefined) return;
    connection.requests += 1;
    response.once('close', () => (connection.requests -= 1));
  });
}
