import type { Argv, Options } from 'yargs';
import type { Command } from './command.ts';
import { Failure } from './errors.ts';
import { noAction, outOfRange } from './quick.ts';
import packageJson from '../package.json' with { type: 'json' };

type Loader = () => Promise<Command>;

/** What argv asks for: a verb with its validated options, or a text to print (help, version). */
export type Parsed =
  | { kind: 'verb'; command: Command; options: Record<string, unknown>; json: boolean }
  | { kind: 'text'; text: string };

export const GLOBAL: Record<string, Options> = {
  target: { alias: 't', type: 'string', requiresArg: true, describe: 'Target of databricks.yml', group: 'Everywhere:' },
  var: { type: 'array', string: true, requiresArg: true, describe: 'Set a variable of databricks.yml: name=value', group: 'Everywhere:' },
  json: { type: 'boolean', describe: 'Print the result as JSON', group: 'Everywhere:' },
  events: { type: 'boolean', describe: 'Say progress as JSON, one event a line, on stderr', group: 'Everywhere:' },
};

/** Reads argv with yargs, loading only the verb it names; every mistake is a usage Failure that names the help to read. */
export async function parseArguments(argv: readonly string[], verbs: Record<string, Loader>): Promise<Parsed> {
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-v')) return { kind: 'text', text: packageJson.version };
  if (argv.length === 0) return parseArguments(['--help'], verbs);
  const { default: yargs } = await import('yargs');
  const named = argv.find((argument) => !argument.startsWith('-'));
  const loader = named === undefined || !Object.hasOwn(verbs, named) ? undefined : verbs[named];
  const commands = loader === undefined ? await Promise.all(Object.values(verbs).map((load) => load())) : [await loader()];
  let chosen: { command: Command; options: Record<string, unknown> } | undefined;
  const parser = base(yargs([...argv]), named);
  for (const command of commands) {
    parser.command(
      command.positionals === undefined ? command.name : `${command.name} ${command.positionals}`,
      command.summary,
      (verb: Argv) => withOptions(verb, command),
      (options) => void (chosen = { command, options: options as Record<string, unknown> }),
    );
  }
  const asked = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined);
  let text = '';
  await parser.parseAsync([...argv], {}, (_error: unknown, _argv: unknown, output: string) => void (text = output));
  if (text !== '' && (asked.includes('--help') || asked.includes('-h'))) return { kind: 'text', text };
  if (chosen === undefined) {
    throw usage(`there is no verb ${JSON.stringify(named ?? argv[0])}`, undefined);
  }
  const options = checked(chosen.command, chosen.options);
  return { kind: 'verb', command: chosen.command, options, json: options.json === true };
}

function base(parser: Argv, verb: string | undefined): Argv {
  return parser
    .scriptName('streamgauge')
    .usage('$0 <verb> [options]\n\nTraffic from Kafka to exact 10-minute windows: Amazon MSK, Databricks, Delta, Elasticsearch.')
    .options(GLOBAL)
    .parserConfiguration({ 'populate--': true, 'greedy-arrays': false, 'camel-case-expansion': true, 'strip-dashed': true, 'boolean-negation': true })
    .demandCommand(1)
    .strict()
    .recommendCommands()
    .exitProcess(false)
    .help()
    .alias('help', 'h')
    .version(packageJson.version)
    .wrap(110)
    .fail((message: string, error: Error | undefined) => {
      throw error instanceof Failure ? error : usage(message || (error?.message ?? 'the command line cannot be read'), verb);
    });
}

function withOptions(verb: Argv, command: Command): Argv {
  const flags = Object.fromEntries(Object.entries(command.options).map(([name, spec]) => [dashed(name), spec as Options]));
  const withAll = verb.usage(`$0 ${command.name} ${command.positionals ?? ''}\n\n${command.summary}`).options(flags);
  return command.examples.reduce((help, [line, explanation]) => help.example(line, explanation), withAll);
}

/** What yargs lets through: a number that is none, and a flag given twice where one value is meant. */
function checked(command: Command, given: Record<string, unknown>): Record<string, unknown> {
  const specs: Record<string, Options | undefined> = { ...GLOBAL, ...command.options };
  for (const [name, spec] of Object.entries(specs)) {
    const value = given[name];
    if (spec?.type === 'number' && value !== undefined && (typeof value !== 'number' || Number.isNaN(value))) throw usage(`--${dashed(name)} must be a number`, command.name);
    if (spec?.type !== 'array' && Array.isArray(value)) throw usage(`--${dashed(name)} was given more than once`, command.name);
  }
  for (const [name, range] of Object.entries(command.ranges ?? {})) {
    const wrong = typeof given[name] === 'number' ? outOfRange(dashed(name), given[name], range) : undefined;
    if (wrong !== undefined) throw usage(wrong, command.name);
  }
  const action = given[(command.positionals ?? '').slice(1).split(/[>\]]/)[0] ?? ''];
  if (command.actions !== undefined && action !== undefined && !command.actions.includes(String(action))) throw usage(noAction(String(action), command.actions), command.name);
  const passed = given['--'];
  if (Array.isArray(passed) && passed.length > 0 && command.takesCommand !== true) throw usage(`unexpected arguments after --: ${passed.join(' ')}`, command.name);
  return { ...given, command: Array.isArray(passed) ? passed.map(String) : [] };
}

/** Options are named as their fields are in code; on the command line they are written with dashes. */
export function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function usage(message: string, verb: string | undefined): Failure {
  return new Failure({
    code: 'USAGE',
    kind: 'usage',
    message: message.trim().split('\n').join('; '),
    hint: verb === undefined ? 'See `streamgauge --help`.' : `See \`streamgauge ${verb} --help\`.`,
  });
}
