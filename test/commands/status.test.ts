import { describe, expect, it } from 'vitest';
import { lagOf } from '../../src/commands/status.ts';

const partition = (start: bigint, end: bigint) => ({ topic: 't', partition: 0, start, end });
const raw = (next: bigint) => [{ topic: 't', partition: 0, next_offset: next, records: next, bad: 0n }];

describe('lag of a partition', () => {
  it.each([
    ['nothing read yet', partition(0n, 10n), null, 10n],
    ['all read', partition(0n, 10n), raw(10n), 0n],
    ['some read', partition(0n, 10n), raw(4n), 6n],
    ['the broker dropped what nobody read', partition(7n, 10n), raw(4n), 3n],
    ['an empty partition that had records', partition(10n, 10n), raw(10n), 0n],
    ['the topic was made anew', partition(0n, 2n), raw(10n), -8n],
    ['another topic', partition(0n, 3n), [{ topic: 'u', partition: 0, next_offset: 3n }], 3n],
    ['offsets beyond 2^53', partition(0n, 2n ** 60n), raw(2n ** 60n - 1n), 1n],
  ])('%s', (_name, topic, rows, lag) => expect(lagOf([topic], rows)[0]?.lag).toBe(lag));
});
