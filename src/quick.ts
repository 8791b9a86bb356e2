/** What a flag or a positional takes; `range` as `Command.ranges` has it. */
export type Flag = { takes: 'nothing' | 'text' | 'number'; many?: true; conflicts?: string; choices?: string[]; range?: Range };
export type Range = { whole?: true; least?: number; above?: number; most?: number };

/** What the build wrote down of the command line: help texts, and per verb its flags as written (without dashes) and its positionals. */
export type Manual = {
  version: string;
  help: string;
  verbs: Record<string, { help: string; flags: Record<string, Flag>; required: number; most: number; actions?: string[]; takesCommand?: true }>;
};

type Verb = Manual['verbs'][string];

export type QuickAnswer = { stdout?: string; stderr?: string; code: number };

/** Short names, the same for every verb that has the long one. */
const SHORT: Record<string, string> = { t: 'target', y: 'yes' };

/**
 * The answer to what needs no verb to run: help, version, and every mistake of the command line itself. Undefined where there is
 * none, or where the whole program has to judge (help among other words, events, spellings that are not ours).
 */
export function quickAnswer(argv: readonly string[], manual: Manual): QuickAnswer | undefined {
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const [first, second] = own;
  if (argv.length === 0 || (argv.length === 1 && isHelp(first))) return { stdout: manual.help, code: 0 };
  if (argv.length === 1 && (first === '--version' || first === '-v')) return { stdout: manual.version, code: 0 };
  if (own.includes('--events')) return undefined;
  const asJson = own.includes('--json');
  if (first === undefined || first.startsWith('-')) return undefined;
  const verb = Object.hasOwn(manual.verbs, first) ? manual.verbs[first] : undefined;
  if (verb !== undefined && argv.length === 2 && isHelp(second)) return { stdout: verb.help, code: 0 };
  if (own.some(isHelp)) return undefined;
  if (verb === undefined) return mistake(`there is no verb ${JSON.stringify(first)}${near(first, Object.keys(manual.verbs))}`, undefined, asJson);
  const message = mistakeIn(own.slice(1), verb) ?? (end >= 0 && end < argv.length - 1 && verb.takesCommand !== true ? `unexpected arguments after --: ${argv.slice(end + 1).join(' ')}` : undefined);
  return message === undefined ? undefined : mistake(message, first, asJson);
}

/** What is wrong with these words; undefined for nothing, or where that is not sure. */
function mistakeIn(words: readonly string[], verb: Verb): string | undefined {
  const read = readWords(words, verb);
  if (read === undefined) return undefined;
  const { given, unknown, empty, values, positionals } = read;
  if (unknown.length > 0) return `Unknown argument${unknown.length > 1 ? 's' : ''}: ${unknown.join(', ')}`;
  if (empty.length > 0) return `Not enough arguments following: ${empty[0]}`;
  if (positionals.length < verb.required) return `Not enough non-option arguments: got ${positionals.length}, need at least ${verb.required}`;
  if (positionals.length > verb.most) return `Unknown argument${positionals.length - verb.most > 1 ? 's' : ''}: ${positionals.slice(verb.most).join(', ')}`;
  const [action] = positionals;
  if (verb.actions !== undefined && action !== undefined && !verb.actions.includes(action)) return noAction(action, verb.actions);
  for (const name of given) {
    const other = verb.flags[name]?.conflicts;
    if (other !== undefined && given.has(other)) return `Arguments ${name} and ${other} are mutually exclusive`;
  }
  for (const [name, texts] of values) {
    const flag = verb.flags[name];
    if (flag === undefined) continue;
    if (texts.length > 1 && flag.many !== true) return `--${name} was given more than once`;
    const wrong = texts.map((value) => wrongValue(name, value, flag)).find((message) => message !== undefined);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

type Read = { given: Set<string>; unknown: string[]; empty: string[]; values: Map<string, string[]>; positionals: string[] };

/** Flags with their values, and what is left; undefined where a word is spelt in a way that only the whole program knows. */
function readWords(words: readonly string[], { flags }: Verb): Read | undefined {
  const read: Read = { given: new Set(), unknown: [], empty: [], values: new Map(), positionals: [] };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (!word.startsWith('-')) {
      read.positionals.push(word);
      continue;
    }
    const [, long, short, value] = /^(?:--([a-z][a-z-]*)|-([a-z]))(?:=(.+))?$/s.exec(word) ?? [];
    const name = long ?? SHORT[short ?? ''] ?? short;
    if (name === undefined) return undefined;
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    const next = words[at + 1];
    read.given.add(name);
    if (flag === undefined) {
      if (long?.startsWith('no-') === true && flags[long.slice(3)]?.takes === 'nothing') continue;
      read.unknown.push(long ?? short ?? name);
      // What stands behind it may be its value.
      if (value === undefined && next !== undefined && !next.startsWith('-')) at += 1;
    } else if (flag.takes === 'nothing') {
      if (value !== undefined || next === 'true' || next === 'false') return undefined;
    } else if (value !== undefined) read.values.set(name, [...(read.values.get(name) ?? []), value]);
    else if (next === undefined || next === '' || (next.startsWith('-') && !/^-\d/.test(next))) read.empty.push(name);
    else {
      read.values.set(name, [...(read.values.get(name) ?? []), next]);
      at += 1;
    }
  }
  return read;
}

function wrongValue(name: string, value: string, { takes, choices, range }: Flag): string | undefined {
  if (choices !== undefined && !choices.includes(value)) return `Invalid values: Argument: ${name}, Given: ${JSON.stringify(value)}, Choices: ${choices.map((choice) => JSON.stringify(choice)).join(', ')}`;
  if (takes !== 'number') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? `--${name} must be a number` : outOfRange(name, number, range);
}

/** What a number must be and is not. */
export function outOfRange(name: string, value: number, { whole, least = -Infinity, above = -Infinity, most = Infinity }: Range = {}): string | undefined {
  if ((whole !== true || Number.isSafeInteger(value)) && value >= least && value > above && value <= most) return undefined;
  const bounds = most < Infinity ? `lie between ${least} and ${most}` : above > -Infinity ? `be more than ${above}` : `be a ${whole ? 'whole ' : ''}number${least > -Infinity ? `, at least ${least}` : ''}`;
  return `--${name} must ${bounds}`;
}

/** The first positional of a verb that has several things to do, where it names none of them. */
export function noAction(given: string, actions: readonly string[]): string {
  return `there is no ${JSON.stringify(given)}: it is ${actions.slice(0, -1).join(', ')}${actions.length > 1 ? ' or ' : ''}${actions.at(-1)}`;
}

function isHelp(word: string | undefined): boolean {
  return word === '--help' || word === '-h';
}

function mistake(message: string, verb: string | undefined, asJson: boolean): QuickAnswer {
  const hint = `See \`streamgauge ${verb === undefined ? '' : `${verb} `}--help\`.`;
  const stderr = `error: ${message}\nhint: ${hint}`;
  return asJson ? { stdout: JSON.stringify({ error: { code: 'USAGE', kind: 'usage', message, hint, exit_code: 2, causes: [] } }), stderr, code: 2 } : { stderr, code: 2 };
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
