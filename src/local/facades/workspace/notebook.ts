import { invalid } from '../refusal.ts';

export type Language = 'PYTHON' | 'SQL' | 'SCALA' | 'R';

const marks: Record<Language, { comment: string; extension: string }> = {
  PYTHON: { comment: '#', extension: 'py' },
  SQL: { comment: '--', extension: 'sql' },
  SCALA: { comment: '//', extension: 'scala' },
  R: { comment: '#', extension: 'r' },
};

const titleLine = 'Databricks notebook source';

/** The language of a notebook in source format, by its first line; undefined for any other content. */
export function notebookLanguage(content: Buffer): Language | undefined {
  const [first = ''] = content.subarray(0, 64).toString('utf8').replace(/^\u{feff}/u, '').split('\n');
  const comment = /^(#|--|\/\/) Databricks notebook source\s*$/.exec(first)?.[1];
  return comment === '#' ? 'PYTHON' : comment === '--' ? 'SQL' : comment === '//' ? 'SCALA' : undefined;
}

/** The content with the line that makes it a notebook of that language, as a real workspace's export has it. */
export function withTitleLine(content: Buffer, language: Language): Buffer {
  return notebookLanguage(content) ? content : Buffer.concat([Buffer.from(`${marks[language].comment} ${titleLine}\n`), content]);
}

/** `py`, `sql`, `scala`. */
export function extensionOf(language: Language): string {
  return marks[language].extension;
}

/** A request's `language`; 400 if unknown. */
export function languageOf(value: unknown): Language {
  if (typeof value === 'string' && value in marks) return value as Language;
  throw invalid(`Invalid or missing language: ${String(value)}. Give one of ${Object.keys(marks).join(', ')}.`);
}

/** A Jupyter notebook in source format: that is how it is kept and run. */
export function fromJupyter(content: Buffer): Buffer {
  type Cell = { cell_type?: string; source?: string | string[] };
  let cells: Cell[];
  try {
    cells = (JSON.parse(content.toString('utf8')) as { cells: Cell[] }).cells;
  } catch (error) {
    throw invalid(`The content is not a Jupyter notebook: ${String(error)}`);
  }
  if (!Array.isArray(cells)) throw invalid('The content is not a Jupyter notebook: it has no cells.');
  const sources = cells.map(({ cell_type, source }) => {
    const text = Array.isArray(source) ? source.join('') : (source ?? '');
    if (cell_type === 'code' && !text.startsWith('%')) return text;
    const magic = cell_type === 'code' ? text : `%md\n${text}`;
    return magic.split('\n').map((line) => `# MAGIC ${line}`.trimEnd()).join('\n');
  });
  return Buffer.from(`# ${titleLine}\n${sources.join('\n\n# COMMAND ----------\n\n')}\n`);
}
