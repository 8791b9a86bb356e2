import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Failure } from '../errors.ts';

/** Bytes of a file, or of stdin for `-`, unpacked where they are gzip; a missing, unreadable or damaged file is a Failure. */
export async function* readBytes(path: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  const source = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: 262_144 });
  try {
    const chunks = (source as Readable)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const first = await chunks.next();
    if (first.done) return;
    const all = continued(first.value, chunks);
    // By its first bytes, so that stdin may be packed as well.
    const isGzip = first.value[0] === 0x1f && first.value[1] === 0x8b;
    yield* isGzip ? unpacked(all, signal) : all;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreadable(path, error);
  } finally {
    source.destroy();
  }
}

async function* continued(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  yield first;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* unpacked(packed: AsyncIterable<Buffer>, signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  const gunzip = createGunzip({ chunkSize: 262_144 });
  const source = Readable.from(packed, { objectMode: false });
  source.on('error', (error) => gunzip.destroy(error));
  signal?.addEventListener('abort', () => gunzip.destroy(), { once: true });
  yield* source.pipe(gunzip) as AsyncIterable<Buffer>;
}

function unreadable(path: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  const name = path === '-' ? 'stdin' : path;
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const reasons: Record<string, string> = { ENOENT: 'there is no such file', EACCES: 'it may not be read', EISDIR: 'it is a folder' };
  const reason = reasons[code] ?? (code.startsWith('Z_') ? `its gzip data is damaged or cut short (${code})` : String((cause as Error).message));
  return new Failure({ code: 'INPUT_UNREADABLE', kind: 'usage', message: `cannot read ${name}: ${reason}`, hint: 'Give a readable file, or `-` for stdin, with --file.', cause });
}
