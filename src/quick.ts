/** What the build wrote down of the command line: the help texts, and per verb its flags (as written, without dashes) with whether each takes a value. */
export type Manual = {
  version: string;
  help: string;
  verbs: Record<string, { help: string; flags: Record<string, 'value' | 'switch'> }>;
};

export type QuickAnswer = { stream: 'stdout' | 'stderr'; text: string; code: number };

/**
 * The answer to what needs no verb to run: help, version, and a command line whose mistake is plain (an unknown verb or
 * flag). Undefined for everything else: then the whole program decides.
 */
export function quickAnswer(argv: readonly string[], manual: Manual): QuickAnswer | undefined {
  const own = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv;
  const [first] = own;
  // In JSON a mistake is another document; and help between other flags is the whole program's to judge.
  if (own.includes('--json') || own.includes('--events')) return undefined;
  if (argv.length === 0) return { stream: 'stdout', text: manual.help, code: 0 };
  if (argv.length === 1 && (first === '--version' || first === '-v')) return { stream: 'stdout', text: manual.version, code: 0 };
  if (argv.length === 1 && isHelp(first)) return { stream: 'stdout', text: manual.help, code: 0 };
  if (first === undefined || first.startsWith('-')) return undefined;
  const verb = Object.hasOwn(manual.verbs, first) ? manual.verbs[first] : undefined;
  if (verb === undefined) return own.length === 1 ? mistake(`there is no verb ${JSON.stringify(first)}${near(first, Object.keys(manual.verbs))}`) : undefined;
  if (argv.length === 2 && isHelp(own[1])) return { stream: 'stdout', text: verb.help, code: 0 };
  const unknown = unknownFlag(own.slice(1), verb.flags);
  return unknown === undefined ? undefined : mistake(`Unknown argument: ${unknown}`, first);
}

/** The first long flag that the verb does not have; values of flags are skipped, anything unusual is left to the whole program. */
function unknownFlag(words: readonly string[], flags: Manual['verbs'][string]['flags']): string | undefined {
  const unknown: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (/^-[^-]/.test(word) && !['-t', '-y'].includes(word)) return undefined;
    const name = /^--([a-z][a-z-]*)(=|$)/.exec(word)?.[1];
    const kind = word === '-t' ? 'value' : name === undefined ? undefined : flags[name.replace(/^no-/, '')] ?? (name === 'help' ? 'switch' : undefined);
    if (name !== undefined && kind === undefined) unknown.push(name);
    if (kind === 'value' && !word.includes('=')) at += 1;
  }
  return unknown.length === 1 ? unknown[0] : undefined;
}

function isHelp(word: string | undefined): boolean {
  return word === '--help' || word === '-h';
}

function mistake(message: string, verb?: string): QuickAnswer {
  return { stream: 'stderr', text: `error: ${message}\nhint: See \`streamgauge ${verb === undefined ? '' : `${verb} `}--help\`.`, code: 2 };
}

/** The verb that was probably meant: the one that differs in the fewest letters, if these are few. */
function near(word: string, verbs: readonly string[]): string {
  const best = verbs.map((verb) => ({ verb, distance: distance(word, verb) })).sort((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 2 ? `: did you mean ${best.verb}?` : '';
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row.at(-1) ?? 0;
}
