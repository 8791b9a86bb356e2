import { perSecond, type Measured, type Setting } from './setting.ts';

const RECORDS = 1_000_000;
const DAY_MS = 86_400_000;

/**
 * The job as it is scheduled: a million records through ingest and windows, three times, each time two more days. The first run
 * finds Spark cold. A task's time is all of it: its Python process, the stream's start, the shards, the commit.
 */
export async function run({ verb, log }: Setting): Promise<Measured[]> {
  await verb(['deploy', '--yes']);
  const rates: Record<'ingest' | 'windows', number[]> = { ingest: [], windows: [] };
  for (let round = 0; round < 3; round += 1) {
    const from = Date.UTC(2024, 0, 1) + round * 2 * DAY_MS;
    const days = ['--from', new Date(from).toISOString(), '--to', new Date(from + 2 * DAY_MS).toISOString()];
    await verb(['produce', '--records', String(RECORDS), '--seed', String(round), ...days]);
    const { tasks } = (await verb(['run'])) as { tasks: { task: 'ingest' | 'windows'; seconds: number }[] };
    // The backup is off here: its task has no rate.
    for (const { task, seconds } of tasks) rates[task]?.push(RECORDS / seconds);
    log(`job, run ${round + 1} of 3: ${tasks.map(({ task, seconds }) => `${task} ${seconds} s`).join(', ')}`);
  }
  const row = (task: 'ingest' | 'windows'): Measured[] => [
    { what: `${task}, Spark cold`, value: perSecond(rates[task][0] ?? 0, 'records') },
    { what: `${task}, warm`, value: perSecond(Math.max(...rates[task].slice(1)), 'records') },
  ];
  return [...row('ingest'), ...row('windows')];
}
