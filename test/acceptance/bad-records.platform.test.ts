import { Kafka, logLevel } from 'kafkajs';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { judge, type Reason } from '../../src/traffic/event.ts';
import { createProject, type Project } from './project.ts';

const at = (timestamp: string, value = '1', more = ''): string => `{"timestamp": ${timestamp}, "流量": ${value}${more}}`;
const seconds = '1767600000';

/** Payloads that a producer nobody controls may send, and why each is a bad record; null = good. */
const PAYLOADS: [name: string, payload: string | Buffer | null, reason: Reason | null][] = [
  ['good, as text seconds', at('"1767600000.123"', '7'), null],
  ['good, with a field that nobody knows', at(seconds, '8', ',"more":{"a":[1,2]}'), null],
  ['good, the largest value', at(seconds, '9223372036854775807'), null],
  ['good, the smallest value', at(seconds, '-9223372036854775808'), null],
  ['tombstone', null, 'tombstone'],
  ['empty payload', '', 'empty_payload'],
  ['not JSON', 'speed=12', 'not_json'],
  ['JSON with something behind it', `${at(seconds)}x`, 'not_json'],
  ['single quotes', "{'timestamp': 1767600000, '流量': 1}", 'not_json'],
  ['bytes that are not UTF-8', Buffer.from([0xff, 0xfe, 0x7b]), 'not_json'],
  ['900 KB that are not JSON', 'x'.repeat(900_000), 'not_json'],
  ['a list', '[1, 2]', 'not_an_object'],
  ['no timestamp', '{"流量": 1}', 'missing_timestamp'],
  ['no value', '{"timestamp": 1767600000}', 'missing_value'],
  ['null value', at(seconds, 'null'), 'missing_value'],
  ['a date without zone', at('"2026-01-05T08:00:00"'), 'timestamp_unreadable'],
  ['a day that does not exist', at('"2026-02-30T08:00:00Z"'), 'timestamp_unreadable'],
  ['year 9999', at('"9999-06-01T00:00:00Z"'), 'timestamp_out_of_range'],
  ['before 1970', at('-5'), 'timestamp_out_of_range'],
  ['year 9000', at('"9000-01-01T00:00:00Z"'), 'timestamp_in_future'],
  ['a fraction', at(seconds, '1.5'), 'value_not_integer'],
  ['a quoted value', at(seconds, '"12"'), 'value_not_integer'],
  ['beyond 64 bits', at(seconds, '9223372036854775808'), 'value_out_of_range'],
  ['a key that is a list', at(seconds, '1', ',"key":[1]'), 'key_not_text'],
  ['a 900 KB record that is good', at(seconds, '3', `,"pad":"${'p'.repeat(900_000)}"`), null],
];

// Bad input never loses data and never stops the stream.
describe('bad records', () => {
  let project: Project;
  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;

  beforeAll(async () => {
    project = createProject('bad', { partitions: 1 });
    await project.json(['provision']);
    const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    const { brokers, sasl } = await clientAccess(config, 'pipeline');
    if (sasl.mechanism !== 'scram-sha-512') throw new Error('the platform speaks SCRAM');
    const kafka = new Kafka({ brokers: [...brokers], ssl: true, sasl: { mechanism: 'scram-sha-512', username: sasl.username, password: sasl.password.reveal() }, logLevel: logLevel.NOTHING });
    const producer = kafka.producer();
    await producer.connect();
    // One by one: together they would be larger than a batch may be.
    for (const [, value] of PAYLOADS) await producer.send({ topic: config.pipeline.topics[0] as string, acks: -1, messages: [{ value: value as string | null }] });
    await producer.disconnect();
    await project.json(['deploy']);
    await project.json(['run']);
  }, 600_000);

  it('every record stands in raw, byte for byte, in its place', async () => {
    const raw = await rows('SELECT offset, base64(payload) FROM raw ORDER BY offset');
    expect(raw.length).toBe(PAYLOADS.length);
    for (const [at, [offset, payload]] of raw.entries()) {
      expect(Number(offset)).toBe(at);
      const sent = PAYLOADS[at]?.[1] ?? null;
      expect(payload === null ? null : Buffer.from(payload, 'base64').equals(Buffer.from(sent ?? ''))).toBe(sent === null ? null : true);
    }
  });

  it('each with the reason that the oracle gives', async () => {
    const found = Object.fromEntries((await rows('SELECT offset, error FROM raw')).map(([offset, error]) => [offset, error]));
    const named = PAYLOADS.map(([name], at) => [name, found[at]]);
    expect(named).toEqual(PAYLOADS.map(([name, , reason]) => [name, reason]));
    const options = { fields: { timestamp: 'timestamp', value: '流量', key: 'key' }, arrivedAtMillis: Date.UTC(2026, 0, 5), maxFutureMinutes: 1440 };
    const judged = PAYLOADS.map(([name, payload]) => {
      const verdict = judge(payload, options);
      return [name, 'error' in verdict ? verdict.error : null];
    });
    expect(judged).toEqual(named);
  });

  it('the good ones among them count', async () => {
    const [[count, sum, min, max]] = (await rows('SELECT count, CAST(sum AS STRING), CAST(min AS STRING), CAST(max AS STRING) FROM windows')) as [unknown[]];
    expect([count, sum, min, max]).toEqual([5, String(7n + 8n + 3n - 1n), '-9223372036854775808', '9223372036854775807']);
  });

  it('the view quarantine lists the bad ones', async () => {
    const [[bad]] = (await rows('SELECT count(*) FROM quarantine')) as [unknown[]];
    expect(bad).toBe(PAYLOADS.filter(([, , reason]) => reason !== null).length);
  });
});
