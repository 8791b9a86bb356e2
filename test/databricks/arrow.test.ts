import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { columnsOf, decimalText, rowsOf } from '../../src/databricks/arrow.ts';

type Arrow = typeof import('apache-arrow', { with: { 'resolution-mode': 'require' } });
const arrow = createRequire(import.meta.url)('apache-arrow') as Arrow;
const { Field } = arrow;

/** One column of raw little-endian values, so that the test, too, gets past the library's own rounding. */
function column(name: string, type: InstanceType<Arrow['DataType']>, values: ArrayBufferView, length: number): Buffer {
  const data = arrow.makeData({ type, length, data: values } as never);
  const batch = new arrow.RecordBatch(new arrow.Schema([new Field(name, type, true)]), arrow.makeData({ type: new arrow.Struct([new Field(name, type, true)]), length, children: [data] } as never) as never);
  return Buffer.from(arrow.tableToIPC(new arrow.Table([batch])));
}

const cellsOf = (ipc: Buffer): unknown[] => [...rowsOf([ipc], Number.MAX_SAFE_INTEGER)].flat().map((row) => row[0]);
const words = (...values: bigint[]): Int32Array => new Int32Array(BigInt64Array.from(values).buffer);

describe('cells are exact', () => {
  it('BIGINT at both ends', () => {
    const ipc = column('n', new arrow.Int64(), BigInt64Array.from([2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n]), 3);
    expect(cellsOf(ipc)).toEqual([9223372036854775807n, -9223372036854775808n, 9007199254740993n]);
    expect(columnsOf(ipc)).toEqual([{ name: 'n', type: 'BIGINT' }]);
  });

  it('DECIMAL(38,s), negative ones, too', () => {
    const big = 10n ** 38n - 1n;
    const parts = [big, -big, -12n].flatMap((value) => [0n, 32n, 64n, 96n].map((shift) => Number((BigInt.asUintN(128, value) >> shift) & 0xffffffffn)));
    const ipc = column('d', new arrow.Decimal(10, 38), Uint32Array.from(parts), 3);
    expect(cellsOf(ipc)).toEqual(['9999999999999999999999999999.9999999999', '-9999999999999999999999999999.9999999999', '-0.0000000012']);
    expect(columnsOf(ipc)).toEqual([{ name: 'd', type: 'DECIMAL(38,10)' }]);
  });

  it.each([
    [0n, 0, '0'],
    [5n, 3, '0.005'],
    [-5n, 3, '-0.005'],
    [1234n, 2, '12.34'],
    [12n, -2, '1200'],
  ])('%s with scale %s is %s', (unscaled, scale, text) => expect(decimalText(unscaled, scale)).toBe(text));

  it.each<[bigint, string]>([
    [0n, '1970-01-01T00:00:00'],
    [1_700_000_000_123_456n, '2023-11-14T22:13:20.123456'],
    [-1n, '1969-12-31T23:59:59.999999'],
    [253_402_300_799_999_999n, '9999-12-31T23:59:59.999999'],
    [-62_135_596_800_000_000n, '0001-01-01T00:00:00'],
    [1_700_000_000_500_000n, '2023-11-14T22:13:20.5'],
  ])('a timestamp of %s microseconds', (micros, text) => {
    expect(cellsOf(column('t', new arrow.TimestampMicrosecond('UTC'), words(micros), 1))).toEqual([`${text}Z`]);
    expect(cellsOf(column('t', new arrow.TimestampMicrosecond(), words(micros), 1))).toEqual([text]);
  });

  it('dates, doubles, booleans and bytes', () => {
    expect(cellsOf(column('d', new arrow.DateDay(), Int32Array.from([0, 19_675, -1]), 3))).toEqual(['1970-01-01', '2023-11-14', '1969-12-31']);
    expect(cellsOf(column('x', new arrow.Float64(), Float64Array.from([0.1, Number.NaN, -Infinity, -0]), 4))).toEqual([0.1, Number.NaN, -Infinity, -0]);
    expect(cellsOf(Buffer.from(arrow.tableToIPC(arrow.tableFromArrays({ b: [true, false, null, true] }))))).toEqual([true, false, null, true]);
  });

  it('takes no more rows than the server said a batch has', () => {
    const ipc = column('n', new arrow.Int32(), Int32Array.from([1, 2, 3]), 3);
    expect([...rowsOf([ipc], 2)].flat()).toEqual([[1], [2]]);
  });
});
