import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { messageOf } from '../errors.ts';

/** One thing wrong with the configuration; all are collected and reported together. */
export type Problem = { where: string; message: string };

/** A parsed YAML file that can say on which line a path stands. */
export type YamlFile = {
  /** Path relative to the bundle's root, as problems name it. */
  name: string;
  value: unknown;
  /** `file:line` of the deepest existing node on `path`. */
  where(path: readonly (string | number)[]): string;
};

/** Reads and parses one YAML file; syntax errors become problems (with their line) and an empty value. */
export function readYaml(root: string, file: string, problems: Problem[]): YamlFile {
  const name = relative(root, file) || file;
  const lines = new LineCounter();
  let document: Document;
  try {
    document = parseDocument(readFileSync(file, 'utf8'), { lineCounter: lines, prettyErrors: false });
  } catch (error) {
    problems.push({ where: name, message: `cannot be read: ${messageOf(error)}` });
    return { name, value: {}, where: () => name };
  }
  for (const error of document.errors) {
    problems.push({ where: `${name}:${lines.linePos(error.pos[0]).line}`, message: error.message.split('\n')[0] ?? error.code });
  }
  const value = document.errors.length === 0 ? (document.toJS() ?? {}) : {};
  return { name, value, where: (path) => `${name}:${lineOf(document, lines, path)}` };
}

function lineOf(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  for (let depth = path.length; depth > 0; depth -= 1) {
    const parent = document.getIn(path.slice(0, depth - 1), true);
    if (!isMap(parent)) continue;
    const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === path[depth - 1]);
    const range = pair && isScalar(pair.key) ? pair.key.range : undefined;
    if (range) return lines.linePos(range[0]).line;
  }
  return 1;
}

/** True for a mapping: neither null, a list nor a scalar. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
