import { randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { placeOf, wantedJobs } from './bundle.ts';
import type { Workspace } from './client.ts';
import { notebookResult, type Following } from './notebook.ts';
import { deleteObject, importFile, listDirectory, mkdirs, submitRun, type Me } from './rest.ts';

/** Folders of the streams below `checkpoint_root` (notebooks ingest and windows), and how those begin that a killed rebuild or drill leaves there. */
const STREAMS = ['raw', 'shards', 'windows'];
const LEFT = ['rebuild_', 'drill_'];

/** Only Spark reaches every kind of place that may hold checkpoints. What is not there is no error, so that it may be run again. */
const NOTEBOOK = `# Databricks notebook source
import json

root = dbutils.widgets.get("checkpoint_root").rstrip("/")
names = json.loads(dbutils.widgets.get("streams"))
left = tuple(json.loads(dbutils.widgets.get("left")))
try:
    names += [entry.name.rstrip("/") for entry in dbutils.fs.ls(root) if entry.name.startswith(left)]
except Exception as error:
    print(f"{root} cannot be listed: {error}")
removed = [name for name in names if dbutils.fs.rm(f"{root}/{name}", True)]
dbutils.notebook.exit(json.dumps({"removed": removed}))
`;

/** The streams' folders below `checkpoint_root`, sorted; where the workspace cannot look (anything but a Volume), those that may be there if `mayBe`. */
export async function findCheckpoints(workspace: Workspace, { pipeline }: Pick<Config, 'pipeline'>, mayBe: boolean): Promise<string[]> {
  const root = pipeline.checkpoint_root.replace(/^dbfs:/, '').replace(/\/+$/, '');
  // Folders of the filesystem itself, whatever their names, are nobody's checkpoints.
  if (/^([\w+.-]+:)?\/*$/.test(root)) return [];
  if (!root.startsWith('/Volumes/')) return mayBe ? STREAMS : [];
  return (await listDirectory(workspace, root)).filter((name) => STREAMS.includes(name) || LEFT.some((start) => name.startsWith(start))).sort();
}

/**
 * Removes them, in a run of its own on a cluster as the bundle's jobs have one; the deployed notebooks and jobs may be gone. Returns the names of the
 * folders that were there. The bundle's folder is left as it was found: with `isDeployed` it goes later, with the notebook in it.
 */
export async function removeCheckpoints(workspace: Workspace, config: Config, who: Me, isDeployed: boolean, following: Following): Promise<string[]> {
  const place = placeOf(config, who);
  const notebook = `${place.root}/remove_checkpoints`;
  const clusters = wantedJobs(config, who, place).flatMap(({ settings }) => (settings.job_clusters as { new_cluster?: object }[] | undefined) ?? []);
  const parameters = { checkpoint_root: config.pipeline.checkpoint_root, streams: JSON.stringify(STREAMS), left: JSON.stringify(LEFT) };
  const task = { task_key: 'remove', notebook_task: { notebook_path: notebook, base_parameters: parameters, source: 'WORKSPACE' }, ...(clusters[0]?.new_cluster && { new_cluster: clusters[0].new_cluster }) };
  await mkdirs(workspace, place.root);
  await importFile(workspace, `${notebook}.py`, Buffer.from(NOTEBOOK));
  const runId = await submitRun(workspace, `streamgauge destroy: checkpoints of ${config.bundle}/${config.target}`, [task], randomUUID());
  const { removed } = await notebookResult<{ removed: string[] }>(workspace, config, { runId, task: task.task_key }, following);
  await deleteObject(workspace, notebook);
  // Not empty: somebody deploys meanwhile, and it is theirs.
  if (!isDeployed) await deleteObject(workspace, place.root).catch(() => undefined);
  return removed;
}
