import type { Command } from '../command.ts';
import { placeOf } from '../databricks/bundle.ts';
import { connect } from '../databricks/client.ts';
import { me } from '../databricks/rest.ts';
import { readState, type Deployment } from '../databricks/state.ts';

type Result = { folder: string; deployments: (Omit<Deployment, 'files' | 'jobs'> & { files: number })[] };

/** `streamgauge history`: the deployments that changed something, the newest first. */
export const history: Command<Record<string, never>, Result> = {
  name: 'history',
  summary: 'List the deployments that changed something: who, when, what. `rollback N` goes back to one.',
  examples: [['streamgauge history -t prod', 'the last 20 deployments']],
  options: {},
  async run({ config, progress, signal }) {
    progress.stage('history');
    const workspace = await connect(config.databricks, { signal });
    const place = placeOf(config, await me(workspace));
    const { history: kept = [] } = await readState(workspace, place);
    return { folder: place.root, deployments: kept.toReversed().map(entryOf) };
  },
  render({ deployments, folder }) {
    if (deployments.length === 0) return [{ kind: 'text', text: `Nothing was deployed to ${folder} yet.` }];
    const rows = deployments.map(({ number, at, by, what, rollbackTo }) => [number, at, by, `${rollbackTo === undefined ? '' : `back to ${rollbackTo}: `}${what.length} step${what.length === 1 ? '' : 's'}`, (what[0] ?? '').slice(0, 100)]);
    return [{ kind: 'table', columns: ['number', 'at', 'by', 'steps', 'first'], rows }];
  },
};

function entryOf(kept: Deployment): Result['deployments'][number] {
  const { jobs: _, files, ...deployment } = kept;
  return { ...deployment, files: Object.keys(files).length };
}
