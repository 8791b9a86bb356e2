import type { Block, Command, Context } from '../command.ts';
import { agreed, mustHaveTerminal } from '../deployment/agree.ts';
import { EXIT, Failure } from '../errors.ts';
import { periodOf } from '../proof/period.ts';
import { rebuildWindows, type Compared, type Rebuilt } from '../windows/rebuild.ts';

type Options = { action: string; window?: string; from?: string; to?: string; rollback?: boolean; dryRun?: boolean; yes?: boolean; forceLock?: boolean; timeout?: number };

const QUESTION = 'Windows that are published would be swapped for others.';

/** `streamgauge windows rebuild`: other windows in place of those that are published, table and index at once; and back. */
export const windows: Command<Options, Rebuilt> = {
  name: 'windows',
  positionals: '<action>',
  summary: 'Compute windows anew from raw (another length, a corrected rule), compare, and swap table and index; `windows rebuild --rollback` goes back.',
  examples: [
    ['streamgauge windows rebuild --dry-run', 'compute everything again and compare; exit code 6 where it differs'],
    ['streamgauge windows rebuild --window 5m', 'windows of 5 minutes in place of those that are published'],
    ['streamgauge windows rebuild --from 2026-01-05 --to 2026-01-06 --yes', 'the windows of a day, after a rule was corrected and deployed'],
    ['streamgauge windows rebuild --rollback', 'back to what the last rebuild replaced, with what has come since'],
  ],
  options: {
    window: { type: 'string', requiresArg: true, describe: 'Length of the windows: 5m, 1h, 1d; the variable window_minutes where it is left out' },
    from: { type: 'string', requiresArg: true, describe: 'Start of the first window: ISO 8601 or epoch seconds' },
    to: { type: 'string', requiresArg: true, describe: 'End of the last window, exclusive' },
    rollback: { type: 'boolean', describe: 'Swap back what the last rebuild replaced', conflicts: ['window', 'from', 'to'] },
    dryRun: { type: 'boolean', describe: 'Compute and compare, and swap nothing; the result stays in windows_rebuilt' },
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask before the swap' },
    forceLock: { type: 'boolean', describe: 'Break the lock of a deployment or rebuild that crashed' },
    timeout: { type: 'number', requiresArg: true, describe: 'Seconds to wait for each run of a job', default: 14_400 },
  },
  async run(context, { action, window, from, to, rollback = false, dryRun = false, yes = false, forceLock = false, timeout = 14_400 }) {
    const { pipeline } = context.config;
    if (action !== 'rebuild') throw new Failure({ code: 'USAGE', kind: 'usage', message: `windows cannot be told to ${JSON.stringify(action)}`, hint: 'Use `streamgauge windows rebuild`.' });
    const minutes = window === undefined ? pipeline.window_minutes : minutesOf(window);
    const period = periodOf(minutes, { from, to }, 'windows rebuild');
    return rebuildWindows(context, { minutes, ...period, rollback, dryRun, forceLock, deadlineMs: timeout * 1000, canAgree: () => yes || mustHaveTerminal(context, QUESTION, 'windows rebuild'), agree: (compared) => agree(context, compared, yes) });
  },
  render,
  exitCode: ({ dryRun, compared }) => (dryRun && compared !== null && differing(compared) + compared.judged.records > 0 ? EXIT.checkFailed : EXIT.ok),
};

/** `5m`, `1h`, `1d` or plain minutes; a usage Failure for what is no length of a window. */
export function minutesOf(window: string): number {
  const found = /^(\d{1,6})(m|min|h|d)?$/.exec(window.trim());
  const minutes = found === null ? 0 : Number(found[1]) * { m: 1, min: 1, h: 60, d: 1440 }[(found[2] ?? 'm') as 'm' | 'min' | 'h' | 'd'];
  if (minutes >= 1 && (1440 % minutes === 0 || minutes % 1440 === 0)) return minutes;
  throw new Failure({ code: 'USAGE', kind: 'usage', message: `--window ${JSON.stringify(window)} is no length of a window`, hint: 'Give minutes that divide a day, or whole days: --window 5m, --window 1h, --window 1d.' });
}

async function agree(context: Context, compared: Compared, yes: boolean): Promise<void> {
  for (const line of linesOf(compared)) context.progress.note(line);
  if (yes) return;
  const { published, rebuilt, minutes } = compared;
  await agreed(context, `Swap ${rebuilt.windows} windows of ${minutes.rebuilt} minutes in for ${published.windows} of ${minutes.published}?`, 'windows rebuild');
}

function differing({ compared }: Compared): number {
  return compared.different + compared.new + compared.gone;
}

function judgedLines({ judged: { records, outside, replayed, verdicts } }: Compared): string[] {
  const changes = verdicts.map(({ was, is, records: count }) => `${was === is ? 'good, with another time, key or value' : `${was ?? 'good'} -> ${is ?? 'good'}`} ${count}`).join(', ');
  return [
    ...(records > 0 ? [`judged in another way now: ${records} records (${changes})`] : []),
    ...(outside > 0 ? [`${outside} more belong to windows outside of this part as well, or only there: they stay as they are until a rebuild without --from and --to`] : []),
    ...(replayed > 0 ? [`${replayed} in quarantine would be good now, but were replayed: they stay there, and their replays count`] : []),
  ];
}

function linesOf(compared: Compared): string[] {
  const { equal, different, new: added, gone } = compared.compared;
  const unit = compared.minutes.compared === compared.minutes.rebuilt ? 'windows' : `stretches of ${compared.minutes.compared} minutes`;
  const fields = Object.entries(compared.fields).map(([field, count]) => `${field} ${count}`).join(', ');
  const side = ({ windows: count, records, held }: Compared['published'], minutes: number): string => `${count} windows of ${minutes} minutes, ${records} records${held > 0 ? `, ${held} held back` : ''}`;
  return [
    `published: ${side(compared.published, compared.minutes.published)}`,
    `computed anew: ${side(compared.rebuilt, compared.minutes.rebuilt)}`,
    `${unit}: ${equal} equal, ${different} different${fields === '' ? '' : ` (${fields})`}, ${added} new, ${gone} gone`,
    ...judgedLines(compared),
  ];
}

function render({ did, swapped, dryRun, minutes, compared, index, seconds }: Rebuilt): Block[] {
  const blocks: Block[] = [];
  if (compared !== null) {
    for (const text of linesOf(compared)) blocks.push({ kind: 'text', text });
    const rows = compared.differences.map((one) => [one.topic, one.key, one.window_start, one.state, one.fields]);
    const more = differing(compared) > rows.length ? `${differing(compared) - rows.length} more` : undefined;
    if (rows.length > 0) blocks.push({ kind: 'table', columns: ['topic', 'key', 'window', '', 'published -> computed anew'], rows, more });
  }
  const after = `after ${seconds.toFixed(1)} s${index === null ? '' : `, searched in ${index}`}`;
  const done = { rebuild: 'Swapped', rollback: 'Swapped back', finish: 'The interrupted swap is finished' }[did];
  if (swapped) blocks.push({ kind: 'text', text: `${done}: windows of ${minutes} minutes are published, ${after}. Back: streamgauge windows rebuild --rollback` });
  else blocks.push({ kind: 'text', text: dryRun ? 'Nothing was swapped; what was computed stands in windows_rebuilt.' : 'Nothing to swap: what was computed is what is published.' });
  return blocks;
}
