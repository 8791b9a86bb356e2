const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/gs;

/**
 * True where an object of this JSON names a field twice. RFC 8259 calls what a reader makes of it unpredictable: the last one counts for
 * JavaScript, and Spark's readers take one of them or none. Such a record may be judged differently, and neither is wrong.
 */
export function repeatsName(json: string): boolean {
  const names: Set<string>[] = [];
  for (const [token, text, colon] of json.matchAll(TOKEN)) {
    if (token === '{' || token === '[') names.push(new Set());
    else if (token === '}' || token === ']') names.pop();
    else if (text !== undefined && colon !== undefined) {
      const name = unescaped(text);
      const known = names.at(-1);
      if (known?.has(name)) return true;
      known?.add(name);
    }
  }
  return false;
}

function unescaped(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}
