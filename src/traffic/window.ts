/** Statistics of one window; `median` is decimal text with one fractional digit, `stddevSamp` is null for a single value. */
export type WindowStatistics = {
  count: number;
  sum: bigint;
  mean: number;
  median: string;
  stddevSamp: number | null;
  min: bigint;
  max: bigint;
};

const MICROS_PER_MINUTE = 60_000_000n;

/** Start of the epoch-aligned window that holds this event time, both in epoch microseconds; its end is exclusive. */
export function windowStart(eventTimeMicros: bigint, windowMinutes: number): bigint {
  const length = BigInt(windowMinutes) * MICROS_PER_MINUTE;
  const remainder = eventTimeMicros % length;
  return eventTimeMicros - (remainder < 0n ? remainder + length : remainder);
}

/** End (exclusive) of the window that starts here, in epoch microseconds. */
export function windowEnd(windowStartMicros: bigint, windowMinutes: number): bigint {
  return windowStartMicros + BigInt(windowMinutes) * MICROS_PER_MINUTE;
}

/** Statistics of a window's values: sum, median, min and max exact, mean and deviation rounded once, at the end. */
export function statistics(values: readonly bigint[]): WindowStatistics {
  if (values.length === 0) throw new RangeError('a window without records has no statistics');
  const sorted = values.toSorted((a, b) => (a < b ? -1 : Number(a > b)));
  const sum = sorted.reduce((total, value) => total + value, 0n);
  return {
    count: sorted.length,
    sum,
    mean: Number(sum) / sorted.length,
    median: median(sorted),
    stddevSamp: stddevSamp(sorted, sum),
    min: sorted[0] as bigint,
    max: sorted.at(-1) as bigint,
  };
}

function median(sorted: readonly bigint[]): string {
  const upper = sorted[Math.floor(sorted.length / 2)] as bigint;
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] as bigint;
  const doubled = upper + lower;
  const magnitude = doubled < 0n ? -doubled : doubled;
  return `${doubled < 0n ? '-' : ''}${magnitude / 2n}.${magnitude % 2n === 0n ? 0 : 5}`;
}

/** sqrt((n * sum of squares - square of the sum) / (n * (n - 1))): the difference is exact, where doubles would cancel out. */
function stddevSamp(values: readonly bigint[], sum: bigint): number | null {
  const n = BigInt(values.length);
  if (n === 1n) return null;
  const squares = values.reduce((total, value) => total + value * value, 0n);
  return Math.sqrt(Number(n * squares - sum * sum) / Number(n * (n - 1n)));
}
