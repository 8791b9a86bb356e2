import { createHmac, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Failure } from '../errors.ts';
import type { Workspace } from './client.ts';
import { askWho, type Me } from './rest.ts';

/** Who a credential belongs to, kept between invocations: most ask it first, and it hardly ever changes. */
export type Identities = {
  known(): Promise<Me | undefined>;
  /** True once `known` has told a name that was heard longer ago than it is believed on its own. */
  doubtful(): boolean;
  remember(who: Me): Promise<void>;
  /** The workspace has refused something: whoever it was, he is asked for again. */
  forget(): Promise<void>;
};

type Kept = { version: 1; salt: string; identities: Record<string, { who: Me; at: number }> };

/** As long as the Databricks CLI believes the same. */
export const BELIEVED_MS = 30 * 60_000;
/** As long as a name is told that is not believed on its own: a token stays its owner's, and whoever finds nothing where the name leads asks again. */
export const KEPT_MS = 30 * 24 * 3_600_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** True for a service principal's id, which is its user name. */
export function isApplicationId(name: string | undefined): boolean {
  return UUID.test(name ?? '');
}

/**
 * Names in `file` (mode 0600), each under a salted hash of host and credential, which themselves are not kept. A file that is missing, unreadable
 * or full of something else is none: then the workspace is asked. `credential` is what the workspace knows the caller by.
 */
export function identitiesIn(file: string, credential: () => Promise<string>, nowMs: () => number = Date.now): Identities {
  let used = false;
  let doubtful = false;
  const read = async (): Promise<Kept> => {
    try {
      const kept = JSON.parse(await readFile(file, 'utf8')) as Partial<Kept> | null;
      if (kept?.version === 1 && typeof kept.salt === 'string' && typeof kept.identities === 'object' && kept.identities !== null) return kept as Kept;
    } catch {
      // Nothing was kept yet, or nothing that can be used.
    }
    return { version: 1, salt: randomBytes(32).toString('hex'), identities: {} };
  };
  const keyIn = async ({ salt }: Kept): Promise<string> => createHmac('sha256', salt).update(await credential()).digest('hex');
  const ageMs = (entry: Kept['identities'][string] | undefined): number => (typeof entry?.at === 'number' && typeof entry.who?.userName === 'string' && entry.at <= nowMs() ? nowMs() - entry.at : Infinity);
  // A service principal's display name, by which its jobs are called, nothing tells but the workspace.
  const isKept = (entry: Kept['identities'][string] | undefined): boolean => ageMs(entry) < (isApplicationId(entry?.who?.userName) ? BELIEVED_MS : KEPT_MS);
  /** Whoever writes at the same time wins or loses as a whole: what is lost is asked for again. */
  const write = async (change: (identities: Kept['identities'], key: string) => void): Promise<void> => {
    try {
      const kept = await read();
      const identities = Object.fromEntries(Object.entries(kept.identities).filter(([, entry]) => isKept(entry)));
      change(identities, await keyIn(kept));
      const own = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
      await mkdir(dirname(file), { recursive: true });
      await writeFile(own, JSON.stringify({ ...kept, identities }), { mode: 0o600 });
      await rename(own, file).catch(() => rm(own, { force: true }));
    } catch {
      // A folder that cannot be written to: then nothing is kept.
    }
  };
  return {
    async known() {
      const kept = await read();
      const entry = kept.identities[await keyIn(kept)];
      if (!isKept(entry)) return undefined;
      used = true;
      doubtful = ageMs(entry) >= BELIEVED_MS;
      return entry?.who;
    },
    doubtful: () => doubtful,
    async remember({ userName, displayName }) {
      doubtful = false;
      await write((identities, key) => void (identities[key] = { who: { userName, ...(displayName === undefined ? {} : { displayName }) }, at: nowMs() }));
    },
    async forget() {
      if (used) await write((identities, key) => void delete identities[key]);
      used = false;
    },
  };
}

/** For where nothing stands under `root`, to which a name led: one that was heard long ago is asked for again. Failure IDENTITY_RENAMED where it is another now. */
export async function confirmWho(workspace: Workspace, root: string): Promise<void> {
  if (workspace.identities?.doubtful() !== true) return;
  const [before, now] = [await workspace.identities.known(), await askWho(workspace)];
  if (before?.userName === now.userName) return;
  throw new Failure({
    code: 'IDENTITY_RENAMED',
    kind: 'remote',
    message: `${workspace.host} knows this identity as ${now.userName}, and no longer as ${before?.userName}, for whom ${root} was looked at`,
    hint: 'The new name is remembered: run the same again.',
  });
}
