import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { poll } from '../../../../src/poll.ts';
import { workspaceClient } from '../workspace/client.ts';

// Real runs: each task a Python process on the platform's Spark.
const home = '/Users/streamgauge@localhost/runs';
const header = '# Databricks notebook source\n';
let ws: ReturnType<typeof workspaceClient>;

beforeAll(() => {
  ws = workspaceClient();
});

describe('a notebook', () => {
  it('runs its cells in one namespace: widgets, SQL, %run, modules beside it, task values, exit', async () => {
    await ws.upload(`${home}/cells/shared.py`, 'NAME = "module"\n');
    await ws.upload(`${home}/cells/package/__init__.py`, '');
    await ws.upload(`${home}/cells/package/inner.py`, 'from .other import VALUE\n');
    await ws.upload(`${home}/cells/package/other.py`, 'VALUE = "package"\n');
    await ws.upload(`${home}/cells/setup.py`, `${header}from_run = "run"\n`);
    const { run, output } = await ws.notebook(`${home}/cells/main`, `# MAGIC %md
# MAGIC # A title that is not executed

# COMMAND ----------

# DBTITLE 1,Parameters
dbutils.widgets.text("given", "default")
dbutils.widgets.text("own", "default")
x = [dbutils.widgets.get("given"), dbutils.widgets.get("own")]

# COMMAND ----------

# MAGIC %run ./setup

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 40 + 2 AS answer,
# MAGIC   'Zürich' AS city

# COMMAND ----------

import os, shared
from package.inner import VALUE
x += [from_run, shared.NAME, VALUE, _sqldf.first().city, os.path.basename(os.getcwd())]
display(spark.range(3).selectExpr("id * 2 AS twice"))
dbutils.jobs.taskValues.set("list", x)

# COMMAND ----------

try:
    dbutils.notebook.exit(",".join(x))
except Exception:
    print("never")

# COMMAND ----------

raise ValueError("behind the exit")
`, { given: 'grün' });
    expect(output.error_trace).toBeUndefined();
    expect(output.notebook_output).toEqual({ result: 'grün,default,run,module,package,Zürich,cells', truncated: false });
    expect(run.state).toMatchObject({ life_cycle_state: 'TERMINATED', result_state: 'SUCCESS' });
    expect(output.logs).toMatch(/\|42 +\|Zürich\|[^]*\|4 +\|/);
    expect(output.logs).not.toContain('never');
  });

  it('hands task values to the next task, as dbutils and as dynamic values', async () => {
    await ws.upload(`${home}/set.py`, `${header}dbutils.jobs.taskValues.set("rows", 7)`);
    await ws.upload(`${home}/get.py`, `${header}got = dbutils.jobs.taskValues.get("first", "rows")
default = dbutils.jobs.taskValues.get("first", "none", default="d", debugValue="debug")
dbutils.notebook.exit(f"{got + 1} {default} {dbutils.widgets.get('rows')} {dbutils.widgets.getAll()['day']}")`);
    const tasks = [
      { task_key: 'first', notebook_task: { notebook_path: `${home}/set` } },
      { task_key: 'second', depends_on: [{ task_key: 'first' }], notebook_task: { notebook_path: `${home}/get`, base_parameters: { rows: '{{tasks.first.values.rows}}', day: '{{job.start_time.iso_date}}' } } },
    ];
    const run = await ws.ended(await ws.submit(tasks));
    const day = new Date(run.start_time).toISOString().slice(0, 10);
    expect((await ws.output(run.tasks[1].run_id)).notebook_output.result).toBe(`8 d 7 ${day}`);
  });

  it('fails with the Python error, its trace naming cell and line, and is tried again', async () => {
    const source = `x = 1\n\n# COMMAND ----------\n\ndef inner():\n    return x / 0\n\n# COMMAND ----------\n\nprint("so far", flush=True)\ninner()\n`;
    await ws.upload(`${home}/fails.py`, header + source);
    const run = await ws.ended(await ws.submit([{ task_key: 'a', max_retries: 1, notebook_task: { notebook_path: `${home}/fails` } }]));
    expect(run.tasks.map((task: any) => [task.attempt_number, task.state.result_state])).toEqual([[0, 'FAILED'], [1, 'FAILED']]);
    expect(run.state.state_message).toBe('Task a failed with message: ZeroDivisionError: division by zero');
    const { error, error_trace: trace, logs } = await ws.output(run.tasks[1].run_id);
    expect(error).toBe('ZeroDivisionError: division by zero');
    expect(trace).toContain(`File "${home}/fails (cell 3)", line 12, in <module>\n    inner()`);
    expect(trace).toContain(`File "${home}/fails (cell 2)", line 7, in inner\n    return x / 0`);
    expect(trace).not.toContain('run_notebook.py');
    expect(logs).toMatch(/^so far\n/);
  });

  it.each([
    ['a syntax error', 'x = = 1', 'SyntaxError: invalid syntax'],
    ['an error of Spark, without its Scala trace', 'spark.sql("SELECT * FROM no_such_table").collect()', 'AnalysisException: [TABLE_OR_VIEW_NOT_FOUND]'],
    ['an unknown widget', 'dbutils.widgets.get("none")', 'ValueError: InputWidgetNotDefined'],
    ['an unknown secret', 'dbutils.secrets.get("none", "none")', 'ValueError: Scope none does not exist!'],
    ['a magic that is not part of the platform', '# MAGIC %scala\n# MAGIC val x = 1', 'NotImplementedError: /Users'],
    ['the death of its process', 'import os\nos.kill(os.getpid(), 9)', 'The Python process was killed by signal 9'],
    ['a process that leaves', 'import sys\nsys.exit(3)', 'SystemExit: 3'],
  ])('says what is wrong: %s', async (_, source, error) => {
    const { run, output } = await ws.notebook(`${home}/wrong`, source);
    expect(output.error).toContain(error);
    expect(`${output.error_trace}`).not.toContain('org.apache.spark');
    expect(run.state.result_state).toBe('FAILED');
  });

  it('never shows a secret that it read', async () => {
    const scope = 'runs-secret';
    const [value, lines] = ['s3cr"et-\\välue', 'first line of key\nsecond line of key'];
    await ws.api('POST', '/api/2.0/secrets/scopes/create', { scope });
    await ws.api('POST', '/api/2.0/secrets/put', { scope, key: 'k', string_value: value });
    await ws.api('POST', '/api/2.0/secrets/put', { scope, key: 'pem', string_value: lines });
    const { output } = await ws.notebook(`${home}/secret`, `import subprocess, sys
value, pem = dbutils.secrets.get("${scope}", "k"), dbutils.secrets.get("${scope}", "pem")
print(len(value), value)
print(value[:4], end=""); print(value[4:])
print(value, file=sys.stderr)
print(pem)
display(spark.createDataFrame([(value,)], "v string"))
subprocess.run(["echo", "child", value], check=True)
print([s.key for s in dbutils.secrets.list("${scope}")], "${scope}" in [s.name for s in dbutils.secrets.listScopes()])
raise RuntimeError("with " + value)`);
    const everything = JSON.stringify(output);
    for (const part of [value, JSON.stringify(value).slice(1, -1), 'line of key']) expect(everything).not.toContain(part);
    expect(output.logs).toContain(`${value.length} [REDACTED]\n[REDACTED]\n`);
    expect(output.logs).toContain("child [REDACTED]\n");
    expect(output.logs).toContain("['k', 'pem'] True");
    expect(output.error).toBe('RuntimeError: with [REDACTED]');
    const exit = await ws.notebook(`${home}/secret`, `dbutils.notebook.exit(dbutils.secrets.get("${scope}", "k"))`);
    expect(exit.output.notebook_output.result).toBe('[REDACTED]');
  });

  it('shows its output while it runs', async () => {
    const flag = '/Volumes/runs/live/flag';
    await ws.upload(`${home}/live.py`, `${header}import os, time
print("before", flush=True)
while not [f for f in dbutils.fs.ls("/Volumes/runs/live") if f.name == "flag"]:
    time.sleep(0.05)
print("after")`);
    await ws.send('PUT', '/api/2.0/fs/directories/Volumes/runs/live');
    await ws.send('DELETE', `/api/2.0/fs/files${flag}`);
    const id = await ws.submit([{ task_key: 'a', notebook_task: { notebook_path: `${home}/live` } }]);
    await ws.until(id, 'the first line', async () => ((await ws.output(id)).logs === 'before\n' ? true : undefined));
    expect((await ws.run(id)).state.life_cycle_state).toBe('RUNNING');
    expect((await ws.send('PUT', `/api/2.0/fs/files${flag}`, 'x')).status).toBe(204);
    await ws.ended(id);
    expect((await ws.output(id)).logs).toBe('before\nafter\n');
  });

  it('keeps only the end of an endless output', async () => {
    const { output } = await ws.notebook(`${home}/chatty`, 'for n in range(130_000):\n    print(f"{n:06d}", "x" * 100)\nprint("end")');
    expect([output.logs_truncated, output.logs.length <= 5 * 2 ** 20, output.logs.endsWith('end\n')]).toEqual([true, true, true]);
  });
});

describe('streams', () => {
  /** A stream that commits an offset every 100 ms as long as it lives, through a function of a module beside the notebook. */
  const stream = (name: string, end: string) => `import writer
q = (spark.readStream.format("rate").option("rowsPerSecond", 20).load()
     .writeStream.trigger(processingTime="100 milliseconds").foreachBatch(writer.write("${name}"))
     .option("checkpointLocation", "${checkpoint(name)}").start())
print("started", flush=True)
${end}`;
  const checkpoint = (name: string) => join(inject('platform').stateDir, 'volumes', 'runs', name);
  const commits = (name: string) => {
    try {
      return readdirSync(join(checkpoint(name), 'commits')).filter((file) => /^\d+$/.test(file)).length;
    } catch {
      return 0;
    }
  };
  const atWork = (name: string) => poll({ what: 'micro-batches', deadlineMs: 200_000, intervalMs: 200 }, async () => (commits(name) > 2 ? true : undefined));
  /** Another run takes longer than many micro-batches: a stream that lives would commit meanwhile. */
  const standsStill = async (name: string) => {
    const before = commits(name);
    await ws.notebook(`${home}/streams/meanwhile`, 'import time\ntime.sleep(2)');
    return commits(name) === before;
  };

  beforeAll(() => ws.upload(`${home}/streams/writer.py`, `import helper

def write(name):
    def batch(df, n):
        helper.prepare(df).write.format("delta").mode("append").saveAsTable("runs_" + name)
    return batch
`).then(() => ws.upload(`${home}/streams/helper.py`, 'def prepare(df):\n    return df.selectExpr("value")\n')));

  const begin = async (name: string, end: string, more: object = {}) => {
    await ws.upload(`${home}/streams/${name}.py`, header + stream(name, end));
    return ws.submit([{ task_key: 'a', notebook_task: { notebook_path: `${home}/streams/${name}` }, ...more }]);
  };

  it('run their batch function with the modules beside the notebook, and stop with the run', async () => {
    const id = await begin('done', 'import time\nwhile q.lastProgress is None or q.lastProgress["batchId"] < 1:\n    time.sleep(0.1)\n');
    expect((await ws.ended(id)).state.result_state).toBe('SUCCESS');
    expect(await standsStill('done')).toBe(true);
    const { output } = await ws.notebook(`${home}/streams/count`, 'dbutils.notebook.exit(str(spark.table("runs_done").count() > 0))');
    expect(output.notebook_output.result).toBe('True');
  });

  it('stop when the run is cancelled', async () => {
    const id = await begin('cancelled', 'q.awaitTermination()');
    await atWork('cancelled');
    await ws.api('POST', '/api/2.2/jobs/runs/cancel', { run_id: id });
    expect((await ws.ended(id)).state).toMatchObject({ life_cycle_state: 'TERMINATED', result_state: 'CANCELED' });
    expect(await standsStill('cancelled')).toBe(true);
  });

  it('stop at the timeout of the task, even where Python is busy', async () => {
    const id = await begin('late', 'while True:\n    pass', { timeout_seconds: 15 });
    const run = await ws.ended(id);
    expect(run.state.result_state).toBe('FAILED');
    expect(run.tasks[0].state.result_state).toBe('TIMEDOUT');
    expect(commits('late')).toBeGreaterThan(0);
    expect(await standsStill('late')).toBe(true);
  });

  it('stop when the process of the task dies', async () => {
    const id = await begin('killed', 'import os, time\nwhile q.lastProgress is None or q.lastProgress["batchId"] < 1:\n    time.sleep(0.1)\nos.kill(os.getpid(), 9)');
    expect((await ws.ended(id)).state.result_state).toBe('FAILED');
    expect(await standsStill('killed')).toBe(true);
  });
});

describe('a Python file', () => {
  it('gets its arguments, Spark by getOrCreate, and the environment for other clients', async () => {
    await ws.upload(`${home}/script.py`, `import os, sys
from pyspark.sql import SparkSession
import beside
if __name__ == "__main__":
    spark = SparkSession.builder.getOrCreate()
    print(sys.argv[1:], spark.range(4).count(), beside.X, os.path.basename(__file__), os.environ["DATABRICKS_HOST"].startswith("https://"))
`);
    await ws.upload(`${home}/beside.py`, 'X = "beside"\n');
    const run = await ws.ended(await ws.submit([{ task_key: 'a', spark_python_task: { python_file: `${home}/script.py`, parameters: ['--n', '{{job.run_id}}', 'ü b'] } }]));
    const output = await ws.output(run.tasks[0].run_id);
    expect(output.logs).toBe(`['--n', '${run.run_id}', 'ü b'] 4 beside script.py True\n`);
    expect([run.state.result_state, output.notebook_output]).toEqual(['SUCCESS', undefined]);
  });

  it('fails with its exit code', async () => {
    await ws.upload(`${home}/exits.py`, 'import sys\nprint("bye")\nsys.exit(4)\n');
    const run = await ws.ended(await ws.submit([{ task_key: 'a', spark_python_task: { python_file: `${home}/exits.py` } }]));
    expect(await ws.output(run.tasks[0].run_id)).toMatchObject({ error: 'SystemExit: 4', logs: expect.stringContaining('bye\n') });
  });

  it('is missed where it does not exist', async () => {
    const run = await ws.ended(await ws.submit([{ task_key: 'a', spark_python_task: { python_file: `${home}/none.py` } }]));
    expect(run.tasks[0].state).toMatchObject({ result_state: 'FAILED', state_message: expect.stringContaining('does not exist') });
  });
});

describe('jobs', () => {
  it('work off 20 queued runs, each with its own result', async () => {
    await ws.upload(`${home}/square.py`, `${header}n = int(dbutils.widgets.get("n"))\ndbutils.notebook.exit(str(spark.range(n * n).count()))`);
    const { job_id } = await ws.api('POST', '/api/2.2/jobs/create', {
      name: 'square', queue: { enabled: true }, max_concurrent_runs: 3, parameters: [{ name: 'n', default: '0' }],
      tasks: [{ task_key: 'a', notebook_task: { notebook_path: `${home}/square` } }],
    });
    const ids: number[] = [];
    for (let n = 0; n < 20; n += 1) ids.push((await ws.api('POST', '/api/2.2/jobs/run-now', { job_id, job_parameters: { n: String(n) } })).run_id);
    const results = [];
    for (const id of ids) {
      await ws.ended(id);
      results.push((await ws.output(id)).notebook_output.result);
    }
    expect(results).toEqual(Array.from({ length: 20 }, (_, n) => String(n * n)));
    expect((await ws.api('GET', `/api/2.2/jobs/runs/list?job_id=${job_id}&completed_only=true&limit=25`)).runs).toHaveLength(20);
    await ws.api('POST', '/api/2.2/jobs/delete', { job_id });
  });

  it('fire by their schedule until they are paused', async () => {
    await ws.upload(`${home}/tick.py`, `${header}pass`);
    const schedule = { quartz_cron_expression: '* * * * * ?', timezone_id: 'Asia/Tokyo' };
    const { job_id } = await ws.api('POST', '/api/2.2/jobs/create', { name: 'tick', schedule, max_concurrent_runs: 2, tasks: [{ task_key: 'a', notebook_task: { notebook_path: `${home}/tick` } }] });
    const runs = async () => (await ws.api('GET', `/api/2.2/jobs/runs/list?job_id=${job_id}`)).runs;
    await poll({ what: 'two runs by the clock', deadlineMs: 60_000, intervalMs: 300 }, async () => ((await runs()).filter((run: any) => run.state.result_state === 'SUCCESS').length >= 2 ? true : undefined));
    await ws.api('POST', '/api/2.2/jobs/update', { job_id, new_settings: { schedule: { ...schedule, pause_status: 'PAUSED' } } });
    const paused = await runs();
    expect(paused[0]).toMatchObject({ trigger: 'PERIODIC', schedule });
    await ws.notebook(`${home}/streams/meanwhile`, 'import time\ntime.sleep(2)');
    expect(await runs()).toHaveLength(paused.length);
    await ws.api('POST', '/api/2.2/jobs/delete', { job_id });
  });
});
