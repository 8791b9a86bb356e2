import { describe, expect, it } from 'vitest';
import { Failure } from '../src/errors.ts';
import { poll, retry } from '../src/poll.ts';

const busy = (more: object = {}): Failure => Object.assign(new Failure({ code: 'BUSY', kind: 'remote', retriable: true, message: 'busy' }), more);

describe('retry', () => {
  it('is bounded, and pauses longer each time, by a jittered share', async () => {
    let [tries, drawn] = [0, 0];
    const random = (): number => ((drawn += 1), 0.5);
    await expect(retry({ times: 4, firstPauseMs: 1, random }, async () => { tries += 1; throw busy(); })).rejects.toMatchObject({ code: 'BUSY' });
    expect([tries, drawn]).toEqual([4, 3]);
  });

  it('waits at least as long as the server asked for', async () => {
    const startedAt = performance.now();
    let tries = 0;
    expect(await retry({ times: 2, firstPauseMs: 1 }, async () => { tries += 1; if (tries === 1) throw busy({ retryAfterMs: 60 }); return tries; })).toBe(2);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(55);
  });

  it('comes back a jittered share later than asked for: others were told the same', async () => {
    const startedAt = performance.now();
    let tries = 0;
    await retry({ times: 2, firstPauseMs: 1, random: () => 1 }, async () => { tries += 1; if (tries === 1) throw busy({ retryAfterMs: 80 }); });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(98);
  });

  it('does not repeat what may not be repeated, and an interrupt ends its pause', async () => {
    let tries = 0;
    await expect(retry({ times: 9, firstPauseMs: 1 }, async () => { tries += 1; throw new Failure({ code: 'NO', kind: 'access', message: 'no' }); })).rejects.toMatchObject({ code: 'NO' });
    expect(tries).toBe(1);
    await expect(retry({ times: 9, firstPauseMs: 60_000, signal: AbortSignal.timeout(10) }, async () => { throw busy(); })).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('poll', () => {
  it('asks until there is an answer, and gives up with what it waited for', async () => {
    expect(await poll({ what: 'x', deadlineMs: 5000, intervalMs: 1 }, async (attempt) => (attempt === 3 ? attempt : undefined))).toBe(3);
    await expect(poll({ what: 'the end of days', deadlineMs: 1, intervalMs: 1, hint: 'wait' }, async () => undefined)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', exitCode: 5, hint: 'wait', message: expect.stringContaining('the end of days') });
  });
});
