import type { Connection, Reader as ResponseReader } from '@platformatic/kafka';
import { decodeBatches, type BrokerBatch, type Codec } from './record-decoding.ts';

type Client = typeof import('@platformatic/kafka');
type Request = Parameters<Client['fetchV12']['createRequest']>;

/** Asks a partition's leader; the batches of the one partition that was asked for. */
export type FetchApi = (leader: Connection, ...request: Request) => Promise<BrokerBatch[]>;

/**
 * Fetch of one partition, version 12, the last one that names topics, as the client sends it: https://kafka.apache.org/protocol#The_Messages_Fetch
 * The answer is read here: six times as fast as by the client, which reads byte by byte and compares no checksum.
 */
export function fetchApi(kafka: Client): FetchApi {
  const codec: Codec = {
    crc32c: kafka.crc32c,
    decompress: (algorithm, bytes) => {
      const found = kafka.compressionsAlgorithmsByBitmask[algorithm];
      if (found === undefined) throw new kafka.UnsupportedCompressionError(`Unsupported compression algorithm with bitmask ${algorithm}`);
      return found.decompressSync(bytes);
    },
  };
  const read = (_correlation: number, key: number, version: number, answer: ResponseReader): BrokerBatch[] => readAnswer(kafka, codec, { key, version, answer });
  const api = kafka.createAPI<Request, BrokerBatch[]>(1, 12, kafka.fetchV12.createRequest, read);
  return (leader, ...request) => api.async(leader, ...request);
}

type Answer = { key: number; version: number; answer: ResponseReader };

function readAnswer(kafka: Client, codec: Codec, { key, version, answer }: Answer): BrokerBatch[] {
  answer.skip(INT32);
  const errors: Record<string, [number, null]> = {};
  const note = (path: string, code: number): void => void (code !== 0 && (errors[path] = [code, null]));
  note('/', answer.readInt16());
  answer.skip(INT32);
  const batches = answer.readArray((topics) => {
    const topic = topics.readString();
    return topics.readArray((partitions, at) => {
      const partition = partitions.readInt32();
      note(`/responses/0/partitions/${at}`, partitions.readInt16());
      // High watermark, last stable offset, start of the log; then aborted transactions and the replica to read from.
      partitions.skip(3 * INT64);
      partitions.readNullableArray((transactions) => void transactions.skip(2 * INT64));
      partitions.skip(INT32);
      const size = partitions.readUnsignedVarInt() - 1;
      if (size <= 0) return [];
      const bytes = partitions.buffer.slice(partitions.position, partitions.position + size);
      partitions.skip(size);
      return decodeBatches(bytes, codec, `${topic}/${partition}`);
    });
  });
  answer.readTaggedFields();
  if (Object.keys(errors).length > 0) throw new kafka.ResponseError(key, version, errors, {});
  return batches.flat(2);
}

const INT32 = 4;
const INT64 = 8;
