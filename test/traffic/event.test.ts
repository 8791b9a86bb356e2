import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge, parseTimestamp, type Reason } from '../../src/traffic/event.ts';

const fields = { timestamp: 'timestamp', value: '流量', key: 'key' };
const arrivedAtMillis = Date.UTC(2024, 0, 1);
const options = { fields, arrivedAtMillis, maxFutureMinutes: 1440 };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const micros = (text: string): bigint => BigInt(Date.parse(text)) * 1000n;

const bad: [name: string, payload: Uint8Array | null, reason: Reason][] = [
  ['null payload', null, 'tombstone'],
  ['no bytes', bytes(''), 'empty_payload'],
  ['white space only', bytes(' \n'), 'not_json'],
  ['cut short', bytes('{"timestamp":1700000000,"流'), 'not_json'],
  ['invalid UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 'not_json'],
  ['byte order mark', bytes('\uFEFF{"timestamp":1700000000,"流量":1}'), 'not_json'],
  ['NaN', bytes('{"timestamp":1700000000,"流量":NaN}'), 'not_json'],
  ['leading zero', bytes('{"timestamp":1700000000,"流量":007}'), 'not_json'],
  ['nested a million deep', bytes(`{"a":${'['.repeat(1_000_000)}`), 'not_json'],
  ['array', bytes('[1700000000,1]'), 'not_an_object'],
  ['string', bytes('"x"'), 'not_an_object'],
  ['number', bytes('12'), 'not_an_object'],
  ['null literal', bytes('null'), 'not_an_object'],
  ['empty object', bytes('{}'), 'missing_timestamp'],
  ['null timestamp', bytes('{"timestamp":null,"流量":1}'), 'missing_timestamp'],
  ['no value', bytes('{"timestamp":1700000000}'), 'missing_value'],
  ['null value', bytes('{"timestamp":1700000000,"流量":null}'), 'missing_value'],
  ['value under another name', bytes('{"timestamp":1700000000,"count":1}'), 'missing_value'],
  ['value only nested', bytes('{"timestamp":1700000000,"a":{"流量":1}}'), 'missing_value'],
  ['bad time beats bad value', bytes('{"timestamp":"x","流量":"y"}'), 'timestamp_unreadable'],
  ['missing value beats bad time', bytes('{"timestamp":"x"}'), 'missing_value'],
  ['boolean time', bytes('{"timestamp":true,"流量":1}'), 'timestamp_unreadable'],
  ['object time', bytes('{"timestamp":{},"流量":1}'), 'timestamp_unreadable'],
  ['exponent time', bytes('{"timestamp":1.7e9,"流量":1}'), 'timestamp_unreadable'],
  ['empty time', bytes('{"timestamp":"","流量":1}'), 'timestamp_unreadable'],
  ['padded time', bytes('{"timestamp":" 1700000000","流量":1}'), 'timestamp_unreadable'],
  ['no zone', bytes('{"timestamp":"2023-11-14T22:13:20","流量":1}'), 'timestamp_unreadable'],
  ['30 February', bytes('{"timestamp":"2023-02-30T00:00:00Z","流量":1}'), 'timestamp_unreadable'],
  ['29 February 1900', bytes('{"timestamp":"1900-02-29T00:00:00Z","流量":1}'), 'timestamp_unreadable'],
  ['hour 24', bytes('{"timestamp":"2023-02-03T24:00:00Z","流量":1}'), 'timestamp_unreadable'],
  ['leap second', bytes('{"timestamp":"2016-12-31T23:59:60Z","流量":1}'), 'timestamp_unreadable'],
  ['zone +19:00', bytes('{"timestamp":"2023-02-03T00:00:00+19:00","流量":1}'), 'timestamp_unreadable'],
  ['before 1970', bytes('{"timestamp":-1,"流量":1}'), 'timestamp_out_of_range'],
  ['a zone that leads before 1970', bytes('{"timestamp":"1970-01-01T00:30:00+01:00","流量":1}'), 'timestamp_out_of_range'],
  ['year 50', bytes('{"timestamp":"0050-01-01T00:00:00Z","流量":1}'), 'timestamp_out_of_range'],
  ['year 9999', bytes('{"timestamp":"9999-01-01T00:00:00Z","流量":1}'), 'timestamp_out_of_range'],
  ['14 digits', bytes('{"timestamp":17000000000000,"流量":1}'), 'timestamp_out_of_range'],
  ['13 digits with a fraction are seconds', bytes('{"timestamp":1700000000000.5,"流量":1}'), 'timestamp_out_of_range'],
  ['900 KB of digits as time', bytes(`{"timestamp":${'9'.repeat(900_000)},"流量":1}`), 'timestamp_out_of_range'],
  ['a day and a second ahead', bytes(`{"timestamp":${arrivedAtMillis / 1000 + 86_401},"流量":1}`), 'timestamp_in_future'],
  ['text value', bytes('{"timestamp":1700000000,"流量":"12345"}'), 'value_not_integer'],
  ['1.5', bytes('{"timestamp":1700000000,"流量":1.5}'), 'value_not_integer'],
  ['12.0', bytes('{"timestamp":1700000000,"流量":12.0}'), 'value_not_integer'],
  ['1e3', bytes('{"timestamp":1700000000,"流量":1e3}'), 'value_not_integer'],
  ['true', bytes('{"timestamp":1700000000,"流量":true}'), 'value_not_integer'],
  ['array value', bytes('{"timestamp":1700000000,"流量":[1]}'), 'value_not_integer'],
  ['2^63', bytes('{"timestamp":1700000000,"流量":9223372036854775808}'), 'value_out_of_range'],
  ['-2^63 - 1', bytes('{"timestamp":1700000000,"流量":-9223372036854775809}'), 'value_out_of_range'],
  ['900 KB of digits as value', bytes(`{"timestamp":1700000000,"流量":${'9'.repeat(900_000)}}`), 'value_out_of_range'],
  ['1E400', bytes('{"timestamp":1700000000,"流量":1E400}'), 'value_out_of_range'],
  ['1E400 as time', bytes('{"timestamp":1E400,"流量":1}'), 'timestamp_out_of_range'],
  ['key object', bytes('{"timestamp":1700000000,"流量":1,"key":{}}'), 'key_not_text'],
  ['fraction as key', bytes('{"timestamp":1700000000,"流量":1,"key":1.5}'), 'key_not_text'],
  ['key false', bytes('{"timestamp":1700000000,"流量":1,"key":false}'), 'key_not_text'],
  ['half a character as key', bytes(String.raw`{"timestamp":1700000000,"流量":1,"key":"\ud800"}`), 'key_not_text'],
];

describe('judge', () => {
  it.each(bad)('%s', (_name, payload, reason) => {
    expect(judge(payload, options)).toEqual({ error: reason });
  });

  it.each<[string, string, string, bigint, string]>([
    ['seconds', '{"timestamp":1700000000,"流量":12345}', '', 12345n, '2023-11-14T22:13:20Z'],
    ['seconds as text', '{"timestamp":"1700000000","流量":12345}', '', 12345n, '2023-11-14T22:13:20Z'],
    ['milliseconds', '{"timestamp":1700000000123,"流量":-1}', '', -1n, '2023-11-14T22:13:20.123Z'],
    ['milliseconds as text', '{"timestamp":"1700000000123","流量":-0}', '', 0n, '2023-11-14T22:13:20.123Z'],
    ['ISO with a space and an offset', '{"timestamp":"2023-11-14 23:13:20+0100","流量":1}', '', 1n, '2023-11-14T22:13:20Z'],
    ['largest value', '{"timestamp":1700000000,"流量":9223372036854775807}', '', 2n ** 63n - 1n, '2023-11-14T22:13:20Z'],
    ['smallest value', '{"timestamp":1700000000,"流量":-9223372036854775808}', '', -(2n ** 63n), '2023-11-14T22:13:20Z'],
    ['key', '{"timestamp":1700000000,"流量":1,"key":"桥"}', '桥', 1n, '2023-11-14T22:13:20Z'],
    ['number as key', '{"timestamp":1700000000,"流量":1,"key":9007199254740993}', '9007199254740993', 1n, '2023-11-14T22:13:20Z'],
    ['null as key', '{"timestamp":1700000000,"流量":1,"key":null}', '', 1n, '2023-11-14T22:13:20Z'],
    ['exactly as far ahead as allowed', `{"timestamp":${arrivedAtMillis / 1000 + 86_400},"流量":1}`, '', 1n, '2024-01-02T00:00:00Z'],
    ['other fields are no concern', '{"a":[{"流量":"x"}],"timestamp":0,"流量":1,"__proto__":null}', '', 1n, '1970-01-01T00:00:00Z'],
  ])('%s', (_name, payload, key, value, time) => {
    expect(judge(bytes(payload), options)).toEqual({ eventTimeMicros: micros(time), key, value });
  });

  it('reads every 64-bit integer and every microsecond exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: 0n, max: 1_704_067_199_999_999n }), (value, time) => {
        const timestamp = `${time / 1_000_000n}.${String(time % 1_000_000n).padStart(6, '0')}`;
        for (const spelling of [timestamp, `"${timestamp}"`, `${timestamp}999`]) {
          expect(judge(bytes(`{"timestamp":${spelling},"流量":${value}}`), options)).toEqual({ eventTimeMicros: time, key: '', value });
        }
      }),
    );
  });

  it('judges the usual shape as it judges the same JSON spaced out', () => {
    const timestamp = fc.oneof(fc.integer(), fc.double(), fc.date({ noInvalidDate: true }).map((date) => `"${date.toISOString()}"`), fc.string().map((text) => JSON.stringify(text)));
    const value = fc.oneof(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), fc.double(), fc.constant('007'), fc.json());
    fc.assert(
      fc.property(timestamp, value, fc.option(fc.string({ unit: 'binary' })), (time, count, key) => {
        const tail = key === null ? '' : `,"key":${JSON.stringify(key)}`;
        expect(judge(`{"timestamp":${time},"流量":${count}${tail}}`, options)).toEqual(judge(`{ "timestamp":${time},"流量":${count}${tail} }`, options));
      }),
    );
  });

  it('never throws, and text and bytes are judged alike', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string({ unit: 'grapheme' }), fc.json().map((json) => `{"timestamp":0,"流量":${json},"key":${json}}`)), (text) => {
        expect(judge(bytes(text), options)).toEqual(judge(text, options));
      }),
    );
    fc.assert(fc.property(fc.uint8Array(), (payload) => void judge(payload, options)));
  });
});

describe('parseTimestamp', () => {
  it('agrees with Date on every ISO 8601 instant of four-digit years', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_167_219_200_000, max: 253_402_300_799_999 }), fc.integer({ min: -18 * 60, max: 18 * 60 }), (millis, zoneMinutes) => {
        expect(parseTimestamp(new Date(millis).toISOString())).toBe(BigInt(millis) * 1000n);
        const local = new Date(millis + zoneMinutes * 60_000).toISOString();
        const zone = Math.abs(zoneMinutes);
        const digits = [Math.floor(zone / 60), zone % 60].map((part) => String(part).padStart(2, '0'));
        for (const separator of ['', ':']) {
          const spelled = `${local.slice(0, -1)}${zoneMinutes < 0 ? '-' : '+'}${digits.join(separator)}`;
          fc.pre(/^\d{4}-/.test(local));
          expect(parseTimestamp(spelled)).toBe(BigInt(millis) * 1000n);
        }
      }),
    );
  });

  it('cuts digits past the microsecond', () => {
    expect(parseTimestamp('2023-11-14T22:13:20.123456789Z')).toBe(1_700_000_000_123_456n);
    expect(parseTimestamp('1.0000019')).toBe(1_000_001n);
  });
});
