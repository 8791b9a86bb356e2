import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

export type Chunk = { offset: number; bytes: number; rowOffset: number; rowCount: number };

/** A result on disk, written once as chunks and read as often as asked. */
export type ResultFile = {
  chunks: Chunk[];
  rows: number;
  bytes: number;
  /** Adds rows in their wire form; a chunk ends as soon as it has `chunkBytes`. */
  append(rows: { data: Uint8Array; rowCount: number }): Promise<void>;
  /** Ends the last chunk. */
  finish(): Promise<void>;
  /** The chunk as it goes over the wire. */
  read(index: number): Promise<Buffer>;
  remove(): Promise<void>;
};

/** What stands around and between the rows of each chunk. */
export type Framing = { before: () => Uint8Array; after: Uint8Array; /** Bytes at the end of the rows that `after` replaces. */ cut: number };

/** Creates the file of one result; it disappears with `remove`. */
export async function createResultFile(path: string, chunkBytes: number, framing: Framing): Promise<ResultFile> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file: FileHandle = await open(path, 'wx+', 0o600);
  let [position, pendingBytes, pendingRows] = [0, 0, 0];
  let pending: Uint8Array[] = [];
  const result: ResultFile = {
    chunks: [],
    rows: 0,
    bytes: 0,
    append: async ({ data, rowCount }) => {
      if (rowCount === 0) return;
      pending.push(data);
      pendingBytes += data.length;
      pendingRows += rowCount;
      result.rows += rowCount;
      result.bytes += data.length;
      if (pendingBytes >= chunkBytes) await result.finish();
    },
    finish: async () => {
      if (pendingRows === 0) return;
      const rows = Buffer.concat(pending);
      const chunk = Buffer.concat([framing.before(), rows.subarray(0, rows.length - framing.cut), framing.after]);
      await file.write(chunk, 0, chunk.length, position);
      result.chunks.push({ offset: position, bytes: chunk.length, rowOffset: result.rows - pendingRows, rowCount: pendingRows });
      position += chunk.length;
      [pending, pendingBytes, pendingRows] = [[], 0, 0];
    },
    read: async (index) => {
      const { offset, bytes } = result.chunks[index]!;
      const { buffer } = await file.read(Buffer.allocUnsafe(bytes), 0, bytes, offset);
      return buffer;
    },
    remove: async () => {
      await file.close();
      await rm(path, { force: true });
    },
  };
  return result;
}
