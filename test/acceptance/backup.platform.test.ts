import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Kafka, logLevel, type KafkaConfig, type Message } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { createMerkleTree } from '../../src/traffic/merkle.ts';
import { createProject, type Project } from './project.ts';

const FROM = Date.UTC(2026, 0, 5);
const at = (second: number): string => String(FROM + second * 1000);

/** A transaction's records, from the fortieth on those of the next day (no further ahead of their arrival than is allowed); each transaction leaves a control marker: an offset that holds no record. */
function transaction(number: number): Message[] {
  return Array.from({ length: 7 }, (_, n): Message => {
    const second = number * 7 + n;
    const payload = second % 11 === 3 ? Buffer.from([0xff, second % 256]) : Buffer.from(JSON.stringify({ timestamp: FROM / 1000 + (number < 40 ? second * 20 : 86_400 + (second - 280) * 4), 流量: second * second - 500, key: `site ${second % 2}` }));
    return {
      partition: number % 2,
      key: second % 5 === 0 ? null : Buffer.from([second % 256, 0, 0xfe]),
      value: second % 13 === 5 ? null : second % 17 === 1 ? Buffer.alloc(0) : payload,
      timestamp: at(second),
      headers: second % 3 === 0 ? { trace: [Buffer.from([0, 1, 0xff]), Buffer.from('二')], empty: Buffer.alloc(0) } : {},
    };
  });
}

/**
 * A target that takes a little and then nothing more, and a way to make room. A real small filesystem where this user may mount
 * one; elsewhere a place that cannot be written to, which Spark meets at the same point.
 */
function smallTarget(folder: string): { what: RegExp; makeRoom(): void; takeAway(): void } {
  mkdirSync(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'pipe' });
    return { what: /No space left on device/, makeRoom: () => void execFileSync('mount', ['-o', 'remount,size=64m', folder]), takeAway: () => void execFileSync('umount', [folder]) };
  } catch {
    const blocked = join(folder, 'copy');
    writeFileSync(blocked, '');
    chmodSync(folder, 0o500);
    return { what: /copy/, makeRoom: () => { chmodSync(folder, 0o700); rmSync(blocked); }, takeAway: () => undefined };
  }
}

// The second copy: written once, whole, checked against its hashes, and good for what it is there for.
describe('backup and restore', () => {
  let project: Project;
  let kafka: Kafka;
  const target = mkdtempSync(join(tmpdir(), 'streamgauge-backup-'));
  const place = join(target, 'disk');
  const disk = smallTarget(place);
  const uri = `file:${place}/copy`;
  const results: Record<string, any> = {};
  const objects = (): string[] => globSync('copy/shards/**/*.gz', { cwd: place }).sort();
  const contents = (): Record<string, string> => Object.fromEntries(objects().map((file) => [file, createHash('sha256').update(readFileSync(join(place, file))).digest('hex')]));
  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;
  const topics = async (): Promise<string[]> => {
    const admin = kafka.admin();
    await admin.connect();
    const names = await admin.listTopics();
    await admin.disconnect();
    return names;
  };

  async function send(from: number, to: number): Promise<void> {
    const producer = kafka.producer({ transactionalId: `tx-backup-${from}`, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (let number = from; number < to; number += 1) {
      const running = await producer.transaction();
      await running.send({ topic: 'traffic_backup', messages: transaction(number) });
      await running.commit();
    }
    await producer.disconnect();
  }

  beforeAll(async () => {
    project = createProject('backup', { partitions: 2, shard_size: 10, backup_uri: uri, windows_uri: `file:${target}/windows`, window_minutes: 5 });
    await project.json(['provision']);
    const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    const { brokers, sasl } = await clientAccess(config, 'admin');
    if (sasl.mechanism !== 'scram-sha-512') throw new Error('the platform speaks SCRAM');
    const options: KafkaConfig = { brokers: [...brokers], ssl: true, sasl: { mechanism: 'scram-sha-512', username: sasl.username, password: sasl.password.reveal() }, logLevel: logLevel.NOTHING };
    kafka = new Kafka(options);
    await send(0, 40);
    const job = join(project.folder, 'jobs/traffic_counter.job.yml');
    // Of the backup alone: it is to fail.
    writeFileSync(job, readFileSync(job, 'utf8').replace(/(backup\.py\s+)max_retries: 2/, '$1max_retries: 0'));
    await project.json(['deploy']);
  }, 900_000);

  afterAll(() => {
    disk.takeAway();
    rmSync(target, { recursive: true, force: true });
  });

  it('a full disk at the target ends the backup in a clear error, and nothing else; the next one completes it', async () => {
    const { tasks } = await project.json(['run'], { code: 4 });
    expect(Object.fromEntries(tasks.map(({ task, state }: any) => [task, state]))).toMatchObject({ ingest: 'SUCCESS', windows: 'SUCCESS', backup: 'FAILED' });
    const { message } = tasks.find(({ task }: any) => task === 'backup').error;
    expect(message).toMatch(/the backup to file:.* stopped: .*the next run goes on from there/);
    expect(message).toMatch(disk.what);
    disk.makeRoom();
    const { backup } = await project.json(['backup']);
    results.firstContents = contents();
    expect(backup).toMatchObject({ skipped: false, written: objects().length - backup.adopted });
  });

  it('every sealed shard is copied, one object each', async () => {
    const [[sealed]] = (await rows('SELECT count(*) FROM shards WHERE sealed')) as [number[]];
    expect(sealed).toBeGreaterThan(20);
    expect(objects().length).toBe(sealed);
  });

  it('offsets without a record are recorded as gaps, exactly those that the broker left out', async () => {
    const held = await rows('SELECT partition, shard, array_sort(collect_list(offset)) FROM raw GROUP BY ALL');
    const missing = held.flatMap(([partition, shard, offsets]) => {
      const there = new Set(offsets.map(Number));
      return Array.from({ length: 10 }, (_, n) => Number(shard) * 10 + n).filter((offset) => !there.has(offset)).map((offset) => `${partition}/${offset}`);
    });
    const recorded = await rows('SELECT partition, explode(gaps) AS gap FROM shards WHERE sealed');
    const listed = recorded.flatMap(([partition, gap]) => Array.from({ length: Number(gap.last_offset) - Number(gap.first_offset) + 1 }, (_, n) => `${partition}/${Number(gap.first_offset) + n}`));
    const sealed = new Set((await rows('SELECT partition, shard FROM shards WHERE sealed')).map(([partition, shard]) => `${partition}/${shard}`));
    const expected = missing.filter((place) => sealed.has(`${place.split('/')[0]}/${Math.floor(Number(place.split('/')[1]) / 10)}`));
    expect(listed.sort()).toEqual(expected.sort());
    expect(listed.length).toBeGreaterThan(25);
  });

  it('an object is what raw holds, byte for byte', async () => {
    const raw = await rows('SELECT partition, offset, unix_millis(broker_timestamp), base64(record_key), base64(payload), headers FROM raw ORDER BY partition, offset');
    const expected = new Map(raw.map(([partition, offset, timestamp, key, payload, headers]) => [`${partition}/${offset}`, { offset: Number(offset), timestamp: Number(timestamp), key, headers, payload }]));
    let seen = 0;
    for (const file of objects()) {
      const partition = /partition=(\d+)/.exec(file)?.[1];
      for (const line of gunzipSync(readFileSync(join(place, file))).toString().trimEnd().split('\n')) {
        const { sha256, ...record } = JSON.parse(line);
        expect(record).toEqual(expected.get(`${partition}/${record.offset}`));
        expect(sha256).toMatch(/^[0-9a-f]{16}$/);
        seen += 1;
      }
    }
    expect(seen).toBeGreaterThan(200);
  });

  it('verify: whole, with the Merkle roots that the oracle computes from the ledger', async () => {
    const first = (await project.json(['backup', 'verify'])).verified;
    expect(first).toMatchObject({ problem_count: 0, problems: [], not_backed_up: 0, unlisted: 0, objects: objects().length });
    const ledger = await rows('SELECT partition, shard, first_offset, last_offset, records, sha256 FROM shards WHERE sealed ORDER BY partition, shard');
    for (const { partition, root, ledger_root } of first.partitions) {
      const tree = createMerkleTree();
      for (const [p, shard, first, last, records, sha256] of ledger) if (p === partition) tree.add({ shard: BigInt(shard), first: BigInt(first), last: BigInt(last), records: BigInt(records), sha256 });
      expect([root, ledger_root]).toEqual([tree.root(), tree.root()]);
    }
    expect(first.partitions.length).toBe(2);
  });

  it('restores to a table: ranges of offsets and of time, and then what is missing', async () => {
    const columns = 'topic, partition, offset, broker_timestamp, record_key, payload, to_json(headers), event_time, key, value, error, shard';
    const differs = async (table: string, where: string): Promise<unknown> => {
      const sealed = `SELECT r.* FROM raw r JOIN (SELECT topic, partition, shard FROM shards WHERE sealed) USING (topic, partition, shard) WHERE ${where}`;
      const [[over, under, count]] = (await rows(`SELECT (SELECT count(*) FROM (SELECT ${columns} FROM ${table} EXCEPT ALL SELECT ${columns} FROM (${sealed}))), (SELECT count(*) FROM (SELECT ${columns} FROM (${sealed}) EXCEPT ALL SELECT ${columns} FROM ${table})), (SELECT count(*) FROM ${table})`)) as [number[]];
      expect(count).toBeGreaterThan(0);
      return [over, under];
    };
    const from = new Date(FROM + 60_000).toISOString();
    await project.json(['restore', '--to', 'table:again', '--from', '0:33,1:50', '--until', from]);
    const part = `offset >= CASE partition WHEN 0 THEN 33 ELSE 50 END AND broker_timestamp < '${from}'`;
    expect(await differs('again', part)).toEqual([0, 0]);
    await project.json(['restore', '--to', 'table:again', '--from', from, '--until', '75']);
    expect(await differs('again', `${part} OR broker_timestamp >= '${from}' AND offset < 75`)).toEqual([0, 0]);
    const filled = await project.json(['restore', '--to', 'table:again']);
    expect([filled.thereBefore > 30, filled.records > 30]).toEqual([true, true]);
    expect(await differs('again', 'true')).toEqual([0, 0]);
  });

  it('restores to a topic: payload, key, headers, timestamp and order as they were', async () => {
    const restored = await project.json(['restore', '--to', 'topic:traffic_backup_again']);
    const consumer = kafka.consumer({ groupId: 'streamgauge-backup-test' });
    await consumer.connect();
    await consumer.subscribe({ topic: 'traffic_backup_again', fromBeginning: true });
    const found: any[] = [];
    const all = Promise.withResolvers<void>();
    await consumer.run({ eachMessage: async ({ partition, message }) => {
      found.push([partition, message.timestamp, message.key?.toString('base64') ?? null, message.value?.toString('base64') ?? null, flat(message.headers ?? {})]);
      if (found.length === restored.records) all.resolve();
    } });
    await all.promise;
    await consumer.disconnect();
    const raw = await rows('SELECT r.partition, unix_millis(broker_timestamp), base64(record_key), base64(payload), headers FROM raw r JOIN (SELECT partition, shard FROM shards WHERE sealed) USING (partition, shard) ORDER BY partition, offset');
    const expected = raw.map(([partition, timestamp, key, payload, headers]) => [partition, String(timestamp), key, payload, (headers ?? []).map((header: any) => [header.key, header.value])]);
    expect([0, 1].flatMap((partition) => found.filter(([p]) => p === partition))).toEqual(expected);
    expect((await rows('SHOW TABLES')).map((row) => row[1]).filter((name: string) => name.startsWith('restored_'))).toEqual([]);
  });

  it('drill: the windows of restored records are those that are published; it says RPO and RTO and leaves nothing behind', async () => {
    const { drilled } = await project.json(['backup', 'drill']);
    expect(drilled).toMatchObject({ ok: true, refused: null, compared: { different_records: 0, windows: { different: 0 } } });
    expect(drilled.compared.windows.equal).toBeGreaterThan(20);
    const [[alone]] = (await rows('SELECT count(*) FROM raw ANTI JOIN (SELECT topic, partition, shard FROM shards WHERE sealed) USING (topic, partition, shard)')) as [number[]];
    expect(drilled.compared.unprotected_records).toBe(alone);
    expect(drilled.compared.rpo_seconds > 0).toBe(alone !== 0);
    expect(drilled.rtoSeconds).toBeGreaterThan(0);
    expect((await topics()).filter((name) => name.includes('backup_drill_'))).toEqual([]);
    expect((await rows('SHOW SCHEMAS')).flat().filter((name) => String(name).includes('s_backup_drill_'))).toEqual([]);
  });

  it('takes only what is new; the windows stand as Parquet, a folder a day, and a day without news stays as it is', async () => {
    const parquet = (): string[] => globSync('windows/day=*/*.parquet', { cwd: target }).sort();
    const before = parquet();
    await send(40, 50);
    await project.json(['run']);
    const now = contents();
    expect(Object.keys(now).length).toBeGreaterThan(Object.keys(results.firstContents).length);
    expect(now).toMatchObject(results.firstContents);
    const different = await rows(`SELECT count(*) FROM (SELECT topic, key, window_start, count, sum, mean, median, stddev_samp, min, max, revision, sequence FROM windows) w FULL JOIN (SELECT topic, key, window_start, count, sum, revision, sequence FROM parquet.\`file:${target}/windows\`) p USING (topic, key, window_start) WHERE NOT (w.count <=> p.count AND w.sum <=> p.sum AND w.revision <=> p.revision AND w.sequence <=> p.sequence)`);
    expect(different).toEqual([[0]]);
    expect(before.length).toBeGreaterThan(0);
    expect(parquet()).toEqual(expect.arrayContaining([...before, expect.stringContaining('day=2026-01-06')]));
  });

  it('adopts what a run left that did not end, and never overwrites another content', async () => {
    const made = objects().filter((file) => !(file in results.firstContents));
    expect(made.length).toBeGreaterThan(1);
    // As if the last run had died between its objects and its manifest.
    const newest = globSync('copy/manifest/*', { cwd: place }).sort().at(-1) as string;
    rmSync(join(place, newest), { recursive: true });
    const [planted] = made as [string];
    const good = readFileSync(join(place, planted));
    const other = gzipSync(gunzipSync(good).toString().replace('"payload":"', '"payload":"AAAA'));
    writeFileSync(join(place, planted), other);
    const refused = await project.cli(['backup']);
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringMatching(/another object in this place[^]*shard \d+/)]);
    expect(readFileSync(join(place, planted)).equals(other)).toBe(true);
    writeFileSync(join(place, planted), good);
    expect((await project.json(['backup'])).backup).toMatchObject({ written: 0, adopted: made.length });
  });

  it('verify and prove name the bad record and the missing ones; restore and drill refuse and name the shard', async () => {
    // As if the last run had died between its objects and its manifest.
    const newest = globSync('copy/manifest/*', { cwd: place }).sort().at(-1) as string;
    rmSync(join(place, newest), { recursive: true });
    const left = objects().filter((name) => !(name in results.firstContents)).length;
    const [file] = objects().filter((name) => name.includes('partition=1/shard=3/')) as [string];
    const good = readFileSync(join(place, file));
    const lines = gunzipSync(good).toString().split('\n');
    const { offset, payload } = JSON.parse(lines[2] as string);
    lines[2] = (lines[2] as string).replace(`"payload":${JSON.stringify(payload)}`, '"payload":"e30="');
    writeFileSync(join(place, file), gzipSync(lines.join('\n')));
    const [shortened] = objects().filter((name) => name.includes('partition=0/shard=5/')) as [string];
    const dropped = gunzipSync(readFileSync(join(place, shortened))).toString().split('\n');
    writeFileSync(join(place, shortened), gzipSync(dropped.toSpliced(4, 1).join('\n')));
    const { verified } = await project.json(['backup', 'verify'], { code: 6 });
    expect(verified).toMatchObject({ unlisted: left, not_backed_up: left });
    expect(verified.problems).toEqual([
      { topic: 'traffic_backup', partition: 0, shard: 5, problem: expect.stringContaining(`the records with the offsets ${JSON.parse(dropped[4] as string).offset} are missing`) },
      { topic: 'traffic_backup', partition: 1, shard: 3, problem: expect.stringContaining(`offset is ${offset}`) },
    ]);
    writeFileSync(join(place, shortened), gzipSync(dropped.join('\n')));
    rmSync(join(place, file));
    const { proved, backup, differences } = await project.json(['prove'], { code: 6 });
    expect([proved, backup.waiting]).toEqual([false, left]);
    expect(differences).toEqual([{ stage: 'backup', topic: 'traffic_backup', partition: 1, shard: 3, message: 'backup of shard 3 of traffic_backup/1: its object is missing', more: 0 }]);
    const refused = await project.cli(['restore', '--to', 'table:refused']);
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('traffic_backup/1 shard 3: its object is missing')]);
    const { drilled } = await project.json(['backup', 'drill'], { code: 6 });
    expect(drilled).toMatchObject({ ok: false, refused: expect.stringContaining('traffic_backup/1 shard 3') });
    expect((await rows('SHOW SCHEMAS')).flat().filter((name) => String(name).includes('s_backup_drill_'))).toEqual([]);
  });
});

function flat(headers: Record<string, unknown>): [string, string | null][] {
  return Object.entries(headers).flatMap(([key, value]) => (Array.isArray(value) ? value : [value]).map((one): [string, string | null] => [key, one === null || one === undefined ? null : Buffer.from(one as Buffer).toString('base64')]));
}
