import type { Base, Connection } from '@platformatic/kafka';

/**
 * The client, safe from a connection that breaks while it authenticates: @platformatic/kafka 2.12.1 then tells of it twice, first of the socket,
 * then of the authentication, when nobody listens any more, and an 'error' that nobody listens to ends the process. Who waits for the
 * connection hears of it the first time.
 */
export function guarded<T extends Base>(client: T): T {
  client.connections.on('connecting', ({ connection }) => connection.on('error', () => undefined));
  return client;
}

/** A connection to whichever broker answers: one that has just died stays in its peers' metadata until its session ends. Throws what the last one said. */
export async function anyConnection(client: Base): Promise<Connection> {
  let cause: unknown = new Error('there is no broker in the metadata');
  for (const node of (await client.metadata({ topics: [] })).brokers.keys()) {
    try {
      const connection = (await client.connectToBrokers([node])).get(node);
      if (connection !== undefined) return connection;
    } catch (error) {
      cause = error;
    }
  }
  throw cause;
}
