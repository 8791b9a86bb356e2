import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { placeIn } from '../src/local/platform.ts';

/** What a notebook that ran as a job of its own said with `dbutils.notebook.exit`, as JSON, and the seconds of its run, start to end. */
export type Ran<T> = { result: T; seconds: number };

export type Notebooks = {
  /** Runs Python as a notebook of its own. */
  run<T>(name: string, source: string): Promise<Ran<T>>;
  /** Runs a notebook that stands in the workspace. */
  runDeployed<T>(path: string, parameters: Record<string, string>): Promise<Ran<T>>;
};

/** Calls the workspace of the platform in this folder as its user: GET, or POST with a body; the answer's JSON. */
export function openWorkspace(root: string): (path: string, body?: unknown) => Promise<any> {
  const environment = parseEnv(readFileSync(placeIn(root).environmentFile, 'utf8')) as Record<string, string>;
  return async (path, body) => {
    const answer = await fetch(`${environment.DATABRICKS_HOST}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${environment.DATABRICKS_TOKEN}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
}

/** Runs Python on the platform as a job's only task; nothing of the pipeline is in between. */
export function openNotebooks(root: string): Notebooks {
  const call = openWorkspace(root);
  const submit = async <T>(name: string, task: { notebook_path: string; base_parameters?: Record<string, string> }): Promise<Ran<T>> => {
    const { run_id } = await call('/api/2.2/jobs/runs/submit', { run_name: name, tasks: [{ task_key: 'one', notebook_task: task }] });
    for (;;) {
      const run = await call(`/api/2.2/jobs/runs/get?run_id=${run_id}`);
      if (run.state.result_state !== undefined) {
        const output = await call(`/api/2.2/jobs/runs/get-output?run_id=${run.tasks[0].run_id}`);
        if (run.state.result_state !== 'SUCCESS') throw new Error(`${name}: ${JSON.stringify(output)}`);
        return { result: JSON.parse(output.notebook_output?.result ?? 'null'), seconds: (run.end_time - run.start_time) / 1000 };
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  return {
    async run(name, source) {
      const path = `/Workspace/Shared/bench_${name}`;
      await call('/api/2.0/workspace/mkdirs', { path: '/Workspace/Shared' });
      await call('/api/2.0/workspace/import', { path, content: Buffer.from(`# Databricks notebook source\n${source}`).toString('base64'), format: 'SOURCE', language: 'PYTHON', overwrite: true });
      return submit(name, { notebook_path: path });
    },
    runDeployed: (path, parameters) => submit(path, { notebook_path: path, base_parameters: parameters }),
  };
}
