import type { ClientReadableStream } from '@grpc/grpc-js';
import type { Message, SparkResponse } from './client.ts';

/** Calls of the service, with the token. */
export type Wire = {
  unary(method: string, request: Message): Promise<Message>;
  stream(method: string, request: Message): ClientReadableStream<SparkResponse>;
};

// Batches the consumer has taken are kept by Spark until they are released; telling it every few megabytes is enough.
const RELEASE_EVERY_BYTES = 8 * 2 ** 20;
// Spark forgets an operation that nobody has been attached to for five minutes.
const STAY_ATTACHED_MS = 90_000;

/** The responses of one operation, read as slowly as they are asked for. Ending early interrupts it; `failure` translates its errors. */
export async function* readResponses(
  wire: Wire,
  operation: Message,
  plan: Message,
  failure: (error: unknown) => Promise<Error>,
): AsyncGenerator<SparkResponse, void> {
  const release = (what: Message) => wire.unary('ReleaseExecute', { ...operation, ...what }).catch(() => {});
  const reader = openReader(wire, operation, plan);
  const stayAttached = setInterval(reader.changeStreams, STAY_ATTACHED_MS);
  stayAttached.unref();
  let unreleasedBytes = 0;
  try {
    for (let response = await reader.next(); response; response = await reader.next()) {
      unreleasedBytes += response.arrow_batch?.data.length ?? 0;
      if (unreleasedBytes > RELEASE_EVERY_BYTES) {
        unreleasedBytes = 0;
        void release({ release_until: { response_id: response.response_id } });
      }
      yield response;
    }
  } catch (error) {
    throw await failure(error);
  } finally {
    clearInterval(stayAttached);
    if (!reader.ended()) {
      reader.cancel();
      await wire.unary('Interrupt', { ...operation, interrupt_type: 'INTERRUPT_TYPE_OPERATION_ID' }).catch(() => {});
    }
    void release({ release_all: {} });
  }
}

/** Reads over as many streams as it takes: Spark ends each after two minutes and expects to be asked for the rest. */
function openReader(wire: Wire, operation: Message, plan: Message) {
  const waiting: SparkResponse[] = [];
  let lastId: string | undefined;
  let reading = false;
  let ended = false;
  const hungry = () => waiting.length === 0 && !ended;
  const attach = (method: string, request: Message) => {
    const stream = wire.stream(method, { ...operation, ...request });
    stream.on('error', () => {}); // thrown by `next`; without a listener it would end the process
    return { stream, messages: stream[Symbol.asyncIterator]() };
  };
  const attachAgain = () => attach('ReattachExecute', lastId === undefined ? {} : { last_response_id: lastId });
  let current = attach('ExecutePlan', { plan, request_options: [{ reattach_options: { reattachable: true } }] });

  const receive = (response: SparkResponse) => {
    lastId = response.response_id;
    ended = response.result_complete != null;
    waiting.push(response);
  };

  /** While the consumer pauses, nobody reads: what has arrived is kept, and a new stream will bring what comes after it. */
  const changeStreams = () => {
    if (reading || ended) return;
    const { stream } = current;
    while (stream.readableLength > 0) receive(stream.read());
    if (!ended) current = attachAgain();
    stream.cancel();
  };

  async function next(): Promise<SparkResponse | undefined> {
    reading = true;
    try {
      while (hungry()) {
        const { value, done } = await current.messages.next();
        if (done) current = attachAgain();
        else receive(value);
      }
    } catch (error) {
      ended = true;
      throw error;
    } finally {
      reading = false;
    }
    // At the end Spark closes the stream; closing it first looks like a fault there.
    if (waiting.length === 0) await current.messages.next().catch(() => {});
    return waiting.shift();
  }

  return { next, changeStreams, ended: () => ended, cancel: () => current.stream.cancel() };
}
