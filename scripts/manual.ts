import { dashed, GLOBAL, parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import type { Options } from 'yargs';
import type { Flag, Manual, Range } from '../src/quick.ts';
import packageJson from '../package.json' with { type: 'json' };

/** What the command line says of itself, asked once, while building. */
export async function manual(): Promise<Manual> {
  const entries = Object.entries(VERBS).map(async ([name, load]) => {
    const { options, ranges = {}, positionals = '', actions, takesCommand } = await load();
    const words = positionals.split(' ').filter((word) => word !== '');
    // A positional that has an option of its name takes it from there.
    const named = words.map((word) => word.slice(1, -1));
    const specs = Object.entries({ ...GLOBAL, ...options }).filter(([flag]) => !named.includes(flag));
    const flags = Object.fromEntries(specs.map(([flag, spec]) => [dashed(flag), flagOf(spec, ranges[flag])] as const));
    const choices = named[0] === undefined ? undefined : (options as Record<string, Options | undefined>)[named[0]]?.choices;
    const things = actions ?? choices?.map(String);
    return [name, { help: await helpOf([name, '--help']), flags, required: words.filter((word) => word.startsWith('<')).length, most: words.length, ...(things && { actions: [...things] }), ...(takesCommand && { takesCommand }) }] as const;
  });
  return { version: packageJson.version, help: await helpOf(['--help']), verbs: Object.fromEntries(await Promise.all(entries)) };
}

async function helpOf(argv: string[]): Promise<string> {
  const parsed = await parseArguments(argv, VERBS);
  if (parsed.kind !== 'text') throw new Error(`${argv.join(' ')} gave no help`);
  return parsed.text;
}

function flagOf(spec: Options | undefined, range: Range | undefined): Flag {
  const takes = spec?.type === 'boolean' ? 'nothing' : spec?.type === 'number' ? 'number' : 'text';
  const conflicts = typeof spec?.conflicts === 'string' ? dashed(spec.conflicts) : undefined;
  return { takes, ...(conflicts && { conflicts }), ...(spec?.type === 'array' && { many: true }), ...(spec?.choices && { choices: spec.choices.map(String) }), ...(range && { range }) };
}
