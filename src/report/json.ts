/**
 * A verb's result for a script: one JSON document. A bigint beyond 2^53 stands as its digits, unquoted: exact for every reader that
 * keeps integers exact, and never rounded by this writer.
 */
export function renderJson(result: unknown): string {
  return JSON.stringify(result, (_key, value: unknown) => (typeof value === 'bigint' ? rawNumber(value) : value), 2);
}

function rawNumber(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(value.toString());
}
