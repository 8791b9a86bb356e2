import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const MILLION = 'SELECT id, CAST(id AS STRING) AS name, CAST(id AS DOUBLE) / 7 AS ratio FROM range(0, 1000000, 1, 4)';

/** A client in a process of its own, as a user has it: does what it is told by name, and says how many milliseconds that took. */
export type Client = { measure(what: string): Promise<number>; stop(): Promise<void> };

/** Spark Connect's own client; `start` is what its import and first query take, once. */
const PYSPARK = `
import os, sys, time
started = time.perf_counter()
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).getOrCreate()
spark.sql("select 1").collect()
start = (time.perf_counter() - started) * 1000
work = {"one": lambda: spark.sql("select 1").collect(), "million": lambda: spark.sql(sys.argv[1]).toArrow()}
for line in sys.stdin:
    what = line.strip()
    if what == "start":
        print(start, flush=True)
        continue
    t = time.perf_counter()
    work[what]()
    print((time.perf_counter() - t) * 1000, flush=True)
`;

export function pyspark(python: string, env: Record<string, string>): Client {
  return client(python, ['-c', PYSPARK, MILLION], env);
}

/** @databricks/sql: `one` row, a million as Arrow `batches` (the way that `query` and `export` read) or as JavaScript `rows`. */
export function databricksSql(env: Record<string, string>): Client {
  return client(process.execPath, [fileURLToPath(new URL('databricks-sql.ts', import.meta.url))], env);
}

function client(command: string, args: string[], env: Record<string, string>): Client {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    measure: async (what) => {
      child.stdin.write(`${what}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command} ended at ${what}`);
      return Number(value);
    },
    stop: async () => {
      if (child.exitCode !== null) return;
      child.stdin.end();
      await once(child, 'close');
    },
  };
}
