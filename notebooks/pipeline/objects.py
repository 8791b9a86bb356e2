"""One object of a backup: gzip NDJSON, the records of one shard in offset order.

    {"offset":7,"timestamp":1767600000123,"key":null,"headers":null,"payload":"eyJ0...","sha256":"0123456789abcdef"}

Key, payload and the headers' values are base64; `timestamp` is epoch milliseconds; `sha256` is the beginning of the digest of
the line without it, so that an object can say by itself which of its records is not what it was. Here is how it is written,
as SQL, and how it is read, as plain Python in Spark's workers: an object that is broken must be named, not end the query.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from itertools import islice, pairwise

_PLACE = re.compile(r"/topic=([^/]+)/partition=(\d+)/shard=(\d+)/[^/]+$")
_LINE = re.compile(r'(\{"offset":(\d+),.*),"sha256":"([0-9a-f]{16})"\}', re.DOTALL)


def contents(rows: str) -> str:
    """SQL: one row an object with its `content` (text, each line with its end) and what the manifest says of it.

    `rows` is SQL with topic, partition, shard, offset, broker_timestamp, record_key, headers, payload.
    """
    body = (
        "to_json(named_struct('offset', offset, 'timestamp', unix_millis(broker_timestamp), 'key', record_key, 'headers', headers, "
        "'payload', payload), map('ignoreNullFields', 'false'))"
    )
    return f"""
        SELECT topic, partition, shard, records, first_timestamp, last_timestamp, sha256, sha2(concat(content, '\\n'), 256) AS content_sha256,
               content
        FROM (
          SELECT topic, partition, shard, size(slice) AS records, first_timestamp, last_timestamp,
                 sha2(unhex(array_join(transform(slice, r -> coalesce(hex(r.payload), '')), '')), 256) AS sha256,
                 array_join(transform(slice, r -> concat(left(r.body, length(r.body) - 1), ',"sha256":"', left(sha2(r.body, 256), 16), '"}}')), '\\n') AS content
          FROM (
            SELECT topic, partition, shard, array_sort(collect_list(struct(offset, body, payload))) AS slice,
                   min(unix_millis(broker_timestamp)) AS first_timestamp, max(unix_millis(broker_timestamp)) AS last_timestamp
            FROM (SELECT *, {body} AS body FROM ({rows})) GROUP BY topic, partition, shard
          )
        )"""


EXAMINED = (
    "path STRING, topic STRING, partition INT, shard BIGINT, records BIGINT, first_offset BIGINT, last_offset BIGINT, "
    "sha256 STRING, content_sha256 STRING, absent ARRAY<BIGINT>, problem STRING"
)
# Of the offsets between first and last that hold no record, at most so many are listed.
_LISTED = 1000
RECORDS = (
    "topic STRING, partition INT, shard BIGINT, offset BIGINT, timestamp BIGINT, record_key BINARY, payload BINARY, "
    "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
)


def examine(batches: Iterator) -> Iterator:
    """For mapInPandas over (path, content): what each object holds (EXAMINED); `problem` names the first record that is not as it was written."""
    import pandas

    for batch in batches:
        yield pandas.DataFrame([_examined(path, bytes(content)) for path, content in zip(batch["path"], batch["content"])])


def records(batches: Iterator) -> Iterator:
    """For mapInPandas over (path, content): every record of every object (RECORDS). Raises on an object that `examine` finds fault with."""
    import pandas

    for batch in batches:
        for path, content in zip(batch["path"], batch["content"]):
            topic, partition, shard = place(path)
            lines, problem = _lines(bytes(content))
            if problem is not None:
                raise ValueError(f"{path}: {problem}")
            rows = [(topic, partition, shard, *_record(line)) for line in lines]
            yield pandas.DataFrame(rows, columns=["topic", "partition", "shard", "offset", "timestamp", "record_key", "payload", "headers"])


def place(path: str) -> tuple[str, int, int]:
    """Topic, partition and shard of an object, from its path."""
    found = _PLACE.search(path)
    if found is None:
        raise ValueError(f"{path} is not an object of a backup: its folder is not topic=.../partition=.../shard=...")
    return found[1], int(found[2]), int(found[3])


def _examined(path: str, content: bytes) -> dict:
    topic, partition, shard = place(path)
    lines, problem = _lines(content)
    payloads, whole, offsets = hashlib.sha256(), hashlib.sha256(), []
    for line in lines:
        whole.update(line.encode() + b"\n")
        offset, _, _, payload, _ = _record(line)
        offsets.append(offset)
        payloads.update(payload or b"")
    return {
        "path": path, "topic": topic, "partition": partition, "shard": shard, "records": len(offsets),
        "first_offset": offsets[0] if offsets else -1, "last_offset": offsets[-1] if offsets else -1,
        "sha256": payloads.hexdigest(), "content_sha256": whole.hexdigest(), "absent": list(islice(_absent(offsets), _LISTED)), "problem": problem,
    }


def _absent(offsets: list[int]) -> Iterator[int]:
    for before, after in pairwise(offsets):
        yield from range(before + 1, after)


def _record(line: str) -> tuple:
    parsed = json.loads(line)
    headers = parsed["headers"]
    if headers is not None:
        headers = [{"key": header["key"], "value": _bytes(header["value"])} for header in headers]
    return parsed["offset"], parsed["timestamp"], _bytes(parsed["key"]), _bytes(parsed["payload"]), headers


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _lines(content: bytes) -> tuple[list[str], str | None]:
    """The lines that are as they were written, up to the first that is not, and what is wrong with that one."""
    unpacked, torn = _unpacked(content)
    lines, last = [], None
    for raw in unpacked.split(b"\n")[:-1]:
        where = "the first record" if last is None else f"the record after offset {last}"
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            return lines, f"{where} is no text"
        found = _LINE.fullmatch(line)
        if found is None:
            return lines, f"{where} is no record"
        if hashlib.sha256(found[1].encode() + b"}").hexdigest()[:16] != found[3]:
            return lines, f"{where}, which says that its offset is {found[2]}, is not what was written: its digest differs"
        if last is not None and int(found[2]) <= last:
            return lines, f"{where} has the offset {found[2]}"
        last = int(found[2])
        lines.append(line)
    if torn is not None:
        return lines, f"{torn} after {'no record' if last is None else f'offset {last}'}"
    return lines, None


def _unpacked(content: bytes) -> tuple[bytes, str | None]:
    """As much as can be unpacked, in small steps, and why it ends before its end."""
    unpack, parts = zlib.decompressobj(wbits=31), []
    try:
        for at in range(0, len(content), 256):
            parts.append(unpack.decompress(content[at:at + 256]))
    except zlib.error:
        return b"".join(parts), "the object cannot be unpacked"
    if not unpack.eof:
        return b"".join(parts), "the object is cut off"
    return b"".join(parts), "there is more behind the object's end" if unpack.unused_data else None
