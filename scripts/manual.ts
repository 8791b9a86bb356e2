import { dashed, GLOBAL, parseArguments } from '../src/arguments.ts';
import { VERBS } from '../src/cli.ts';
import type { Manual } from '../src/quick.ts';
import packageJson from '../package.json' with { type: 'json' };

/** What the command line says of itself, asked once, while building. */
export async function manual(): Promise<Manual> {
  const entries = Object.entries(VERBS).map(async ([name, load]) => {
    const { options } = await load();
    const specs = Object.entries({ ...GLOBAL, ...options });
    const flags = Object.fromEntries(specs.map(([flag, spec]) => [dashed(flag), spec?.type === 'boolean' ? 'switch' : 'value'] as const));
    return [name, { help: await helpOf([name, '--help']), flags }] as const;
  });
  return { version: packageJson.version, help: await helpOf(['--help']), verbs: Object.fromEntries(await Promise.all(entries)) };
}

async function helpOf(argv: string[]): Promise<string> {
  const parsed = await parseArguments(argv, VERBS);
  if (parsed.kind !== 'text') throw new Error(`${argv.join(' ')} gave no help`);
  return parsed.text;
}
