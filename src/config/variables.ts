import { isRecord, type Problem, type YamlFile } from './document.ts';
import type { Overrides } from './overrides.ts';

/** A variable's text and where it came from, so that a bad value can be named at its source. */
export type Variable = {
  text: string;
  where: string;
  /** Its default is a number: as a whole value it becomes a number again, as the bundle's own interpolation has it. */
  numeric: boolean;
};

export type VariableSources = {
  file: YamlFile;
  bundle: Record<string, unknown>;
  target: string;
  /** `--var name=value`, in order; the last one wins. */
  flags: readonly string[];
  environment: Readonly<Record<string, string | undefined>>;
  overrides: Overrides;
};

/** The bundle's variables after its own precedence: `--var`, then BUNDLE_VAR_name, then variable-overrides.json, then the target, then the default. */
export function resolveVariables(sources: VariableSources, problems: Problem[]): Record<string, Variable> {
  const declared = isRecord(sources.bundle.variables) ? sources.bundle.variables : {};
  const flags = parseFlags(sources.flags, Object.keys(declared), problems);
  const overrides = { ...targetVariables(sources, Object.keys(declared), problems), ...fileVariables(sources.overrides, Object.keys(declared), problems) };
  const resolved: Record<string, Variable> = {};
  for (const [name, declaration] of Object.entries(declared)) {
    const fromEnvironment = sources.environment[`BUNDLE_VAR_${name}`];
    const flag = flags[name];
    const override = overrides[name];
    const value = isRecord(declaration) ? declaration.default : undefined;
    const numeric = typeof value === 'number';
    if (flag !== undefined) resolved[name] = { text: flag, where: `--var ${name}`, numeric };
    else if (fromEnvironment !== undefined) resolved[name] = { text: fromEnvironment, where: `BUNDLE_VAR_${name}`, numeric };
    else if (override !== undefined) resolved[name] = { ...override, numeric };
    else {
      const where = sources.file.where(['variables', name, 'default']);
      if (isScalarValue(value)) resolved[name] = { text: String(value), where, numeric };
      else problems.push({ where, message: `variable ${name} has no value: give it a default, or --var ${name}=VALUE` });
    }
  }
  return resolved;
}

function parseFlags(flags: readonly string[], declared: string[], problems: Problem[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (const flag of flags) {
    const at = flag.indexOf('=');
    if (at < 1) problems.push({ where: `--var ${flag}`, message: 'must be name=value' });
    else if (!declared.includes(flag.slice(0, at))) problems.push(unknownVariable(`--var ${flag.slice(0, at)}`, flag.slice(0, at), declared));
    else values[flag.slice(0, at)] = flag.slice(at + 1);
  }
  return values;
}

function targetVariables({ file, bundle, target }: VariableSources, declared: string[], problems: Problem[]): Record<string, Omit<Variable, 'numeric'>> {
  const targets = isRecord(bundle.targets) ? bundle.targets : {};
  const chosen = targets[target];
  const overrides = isRecord(chosen) && isRecord(chosen.variables) ? chosen.variables : {};
  const values: Record<string, Omit<Variable, 'numeric'>> = {};
  for (const [name, given] of Object.entries(overrides)) {
    const where = file.where(['targets', target, 'variables', name]);
    const value = isRecord(given) ? given.default : given;
    if (!declared.includes(name)) problems.push(unknownVariable(where, name, declared));
    else if (isScalarValue(value)) values[name] = { text: String(value), where };
    else problems.push({ where, message: `variable ${name} must be text, a number or a boolean` });
  }
  return values;
}

function fileVariables({ where, values }: Overrides, declared: string[], problems: Problem[]): Record<string, Omit<Variable, 'numeric'>> {
  const named = Object.entries(values).filter(([name]) => declared.includes(name));
  for (const [name, value] of named) if (!isScalarValue(value)) problems.push({ where, message: `variable ${name} must be text, a number or a boolean` });
  return Object.fromEntries(named.map(([name, value]) => [name, { text: String(value), where: `${where}: ${name}` }]));
}

function unknownVariable(where: string, name: string, declared: string[]): Problem {
  const near = declared.filter((other) => other.includes(name) || name.includes(other) || other.slice(0, 4) === name.slice(0, 4));
  const known = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `databricks.yml declares: ${declared.join(', ')}`;
  return { where, message: `unknown variable ${name}; ${known}` };
}

function isScalarValue(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/** What `${...}` stands for; undefined leaves it as it stands. */
export type Lookup = (reference: string) => string | number | undefined;

/** Fills `${...}` in every string of a YAML value; a string that is one reference takes the value's own type. */
export function interpolate(value: unknown, lookup: Lookup): unknown {
  if (typeof value === 'string') {
    const whole = /^\$\{([^}]+)\}$/.exec(value);
    if (whole?.[1] !== undefined) return lookup(whole[1].trim()) ?? value;
    return value.replaceAll(/\$\{([^}]+)\}/g, (text, reference: string) => String(lookup(reference.trim()) ?? text));
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, lookup));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, lookup)]));
}
