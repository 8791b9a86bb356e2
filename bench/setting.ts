import type { Runtime } from '../src/local/contract.ts';

/** Where a measurement runs: a running, provisioned platform. */
export type Setting = {
  /** Folder with databricks.yml and .streamgauge/local.env, target `local`. */
  root: string;
  runtime: Pick<Runtime, 'java' | 'kafkaClasspath' | 'python'>;
  sparkPort: number;
  /** Seconds until each engine was up, side by side, and until the platform was. */
  started: { engines: Record<string, number>; platform: number };
  log(line: string): void;
  /** Runs a verb as a user does, and gives its JSON. */
  verb(args: string[]): Promise<any>;
};

/** One line of the bench's table; `ratio` where two things were measured against each other in the same run, `target` where one is set. */
export type Measured = { what: string; value: string; ratio?: number; target?: string };

/** The middle of an odd number of measurements. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

export function perSecond(rate: number, unit: string): string {
  return `${Math.round(rate).toLocaleString('en')} ${unit}/s`;
}
