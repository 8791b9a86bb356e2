import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { Base } from '@platformatic/kafka';
import { expect, it, onTestFinished } from 'vitest';
import { guarded } from '../../src/kafka/connection.ts';
import { kafkaFailure } from '../../src/kafka/failure.ts';

const [SASL_HANDSHAKE, API_VERSIONS] = [17, 18];

/** Answers up to the exchange of the password, then resets the connection: a broker that is killed while a client logs in. */
function answer(socket: Socket, request: Buffer): void {
  const [api, correlation] = [request.readInt16BE(4), request.readInt32BE(8)];
  const send = (body: number[]): void => {
    const frame = Buffer.from([0, 0, 0, 4 + body.length, 0, 0, 0, 0, ...body]);
    frame.writeInt32BE(correlation, 4);
    socket.write(frame);
  };
  if (api === API_VERSIONS) send([0, 0, 0, 0, 0, 1, 0, 36, 0, 0, 0, 2, 0, 0, 0, 0]);
  else if (api === SASL_HANDSHAKE) send([0, 0, 0, 0, 0, 1, 0, 13, ...Buffer.from('SCRAM-SHA-512')]);
  else socket.resetAndDestroy();
}

it('a broker that dies while a client logs in is an error to try again after, not the end of the process', async () => {
  const server = createServer((socket) => void socket.on('error', () => undefined).on('data', (request: Buffer) => answer(socket, request)));
  onTestFinished(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = guarded(new Base({ clientId: 'test', bootstrapBrokers: [`127.0.0.1:${port}`], retries: 0, sasl: { mechanism: 'SCRAM-SHA-512', username: 'u', password: 'p' } }));
  onTestFinished(() => client.close());
  const error = await client.metadata({ topics: [], forceUpdate: true }).then(() => undefined, (thrown: unknown) => thrown);
  expect(kafkaFailure(error, 'logging in')).toMatchObject({ code: 'KAFKA_UNAVAILABLE', retriable: true });
});
