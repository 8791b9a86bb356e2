import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../errors.ts';
import type { SecretKey } from './rest.ts';

/** The secret scope as it should be: its name and what is in it. */
export type WantedScope = Readonly<{
  name: string;
  secrets: Readonly<Record<string, Secret>>;
  /** Keys whose values come to exist only while the plan is applied. */
  pending?: readonly string[];
}>;

/** Stands in a scope that deploy created: `destroy` removes only such a scope as a whole. */
export const MADE_KEY = 'streamgauge-made';
const FINGERPRINT = /^streamgauge-fingerprint-([0-9a-f]{32})-([0-9a-f]{64})$/;

/** A key that tells, by its name alone and without giving anything away, which values were written: salted and slow to guess (scrypt). */
export function fingerprintKey(secrets: WantedScope['secrets'], salt: string = randomBytes(16).toString('hex')): string {
  return `streamgauge-fingerprint-${salt}-${hash(secrets, salt).toString('hex')}`;
}

/** Why the secrets have to be written, or undefined where the scope already holds exactly these. */
export function reasonToPut(wanted: WantedScope, found: readonly SecretKey[]): string | undefined {
  if ((wanted.pending ?? []).length > 0) return 'known once the brokers and their logins are there';
  const missing = Object.keys(wanted.secrets).filter((key) => !found.some((secret) => secret.key === key));
  if (missing.length > 0) return `missing: ${missing.join(', ')}`;
  const marks = found.filter((secret) => FINGERPRINT.test(secret.key));
  const mark = marks.find((secret) => matches(wanted.secrets, secret.key));
  if (mark === undefined || marks.length > 1) return marks.length === 0 ? 'not written by this bundle' : 'changed';
  const markedAt = mark.last_updated_timestamp ?? 0;
  const touched = found.filter((secret) => secret.key in wanted.secrets && (secret.last_updated_timestamp ?? 0) > markedAt);
  return touched.length === 0 ? undefined : `written by someone else since: ${touched.map((secret) => secret.key).join(', ')}`;
}

/** Keys of fingerprints in a scope: all are stale once other secrets are written. */
export function fingerprintKeys(found: readonly SecretKey[]): string[] {
  return found.map((secret) => secret.key).filter((key) => FINGERPRINT.test(key));
}

function matches(secrets: WantedScope['secrets'], key: string): boolean {
  const [, salt, hex] = FINGERPRINT.exec(key) ?? [];
  return salt !== undefined && hex !== undefined && timingSafeEqual(hash(secrets, salt), Buffer.from(hex, 'hex'));
}

function hash(secrets: WantedScope['secrets'], salt: string): Buffer {
  const sorted = Object.keys(secrets).sort().map((key) => [key, secrets[key]?.reveal()]);
  return scryptSync(JSON.stringify(sorted), Buffer.from(salt, 'hex'), 32);
}
