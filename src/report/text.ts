import type { Block } from '../command.ts';

type Cell = string | number | bigint | null;

/** A verb's result as a person reads it: facts aligned, tables with numbers to the right, no trailing blanks. */
export function renderBlocks(blocks: readonly Block[]): string {
  return blocks
    .map((block) => {
      if (block.kind === 'text') return block.text;
      const title = block.title === undefined ? [] : [block.title];
      return [...title, ...(block.kind === 'facts' ? factLines(block.facts) : tableLines(block.columns, block.rows, block.more))].join('\n');
    })
    .filter((text) => text !== '')
    .join('\n\n');
}

function factLines(facts: [string, Cell][]): string[] {
  const wide = Math.max(0, ...facts.map(([name]) => width(name)));
  return facts.map(([name, value]) => `  ${pad(name, wide)}  ${show(value)}`.trimEnd());
}

function tableLines(columns: string[], rows: Cell[][], more: string | undefined): string[] {
  const cells = rows.map((row) => row.map(show));
  const widths = columns.map((name, at) => Math.max(width(name), ...cells.map((row) => width(row[at] ?? ''))));
  const right = columns.map((_, at) => rows.length > 0 && rows.every((row) => isNumeric(row[at])));
  const line = (row: string[]): string =>
    `  ${row.map((cell, at) => pad(cell, widths[at] ?? 0, right[at])).join('  ')}`.trimEnd();
  const rule = `  ${widths.map((n) => '─'.repeat(n)).join('  ')}`;
  return [line(columns), rule, ...cells.map(line), ...(more === undefined ? [] : [`  ${more}`])];
}

function show(value: Cell | undefined): string {
  if (value === null || value === undefined) return '-';
  return typeof value === 'string' ? printable(value) : value.toString();
}

/** Control characters from data must not reach a terminal: they could move its cursor or hide text. */
function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (char) => (char === '\n' ? '⏎' : '�'));
}

function isNumeric(value: Cell | undefined): boolean {
  return value === null || typeof value === 'number' || typeof value === 'bigint' || (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value));
}

function pad(text: string, columns: number, right = false): string {
  const blanks = ' '.repeat(Math.max(0, columns - width(text)));
  return right ? blanks + text : text + blanks;
}

/** Columns that a text takes on a terminal: East Asian wide characters, such as those of 流量, take two. */
export function width(text: string): number {
  let columns = 0;
  for (const char of text) columns += /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u.test(char) ? 2 : /\p{Mark}/u.test(char) ? 0 : 1;
  return columns;
}
