import { basename, extname } from 'node:path';
import { z } from 'zod';
import { invalid } from '../refusal.ts';
import { parsed } from '../routes.ts';

const marks = { PYTHON: ['#', 'py'], SQL: ['--', 'sql'], SCALA: ['//', 'scala'], R: ['#', 'r'] } as const;
const title = 'Databricks notebook source';

export type Language = keyof typeof marks;
/** A request's `language`. */
export const language = z.enum(Object.keys(marks) as [Language, ...Language[]]);

/** The language of a notebook in source format, by its first line; undefined for any other content. */
export function notebookLanguage(content: Buffer): Language | undefined {
  const [first = ''] = content.subarray(0, 64).toString('utf8').replace(/^\u{feff}/u, '').split('\n');
  return language.options.find((one) => first.trimEnd() === `${marks[one][0]} ${title}`);
}

/** The content with the line that makes it a notebook of that language, as a real workspace's export has it. */
export function withTitleLine(content: Buffer, language: Language): Buffer {
  return notebookLanguage(content) ? content : Buffer.concat([Buffer.from(`${marks[language][0]} ${title}\n`), content]);
}

/** `py` of a notebook, or the extension of a file, as export answers in `file_type`. */
export function fileType({ language, path }: { language?: Language; path: string }): string {
  return language ? marks[language][1] : extname(`x${basename(path)}`).slice(1);
}

const jupyter = z.object({ cells: z.array(z.object({ cell_type: z.string().optional(), source: z.union([z.string(), z.array(z.string()).transform((lines) => lines.join(''))]).default('') })) });

/** A Jupyter notebook in source format: that is how it is kept and run. */
export function fromJupyter(content: Buffer): Buffer {
  let notebook: unknown;
  try {
    notebook = JSON.parse(content.toString('utf8'));
  } catch (error) {
    throw invalid(`The content is not a Jupyter notebook: ${String(error)}`);
  }
  const sources = parsed(jupyter, notebook).cells.map(({ cell_type, source }) => {
    if (cell_type === 'code' && !source.startsWith('%')) return source;
    const magic = cell_type === 'code' ? source : `%md\n${source}`;
    return magic.split('\n').map((line) => `# MAGIC ${line}`.trimEnd()).join('\n');
  });
  return Buffer.from(`# ${title}\n${sources.join('\n\n# COMMAND ----------\n\n')}\n`);
}
