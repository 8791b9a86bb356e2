import { spawn, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { createProject } from '../acceptance/project.ts';
import { witnessPython } from './python.ts';

// Kafka's own command line tools and kcat, as shipped, with the users that `provision` made, over SASL_SSL.
type User = { username: string; password: string; properties: string };

const folder = mkdtempSync(join(tmpdir(), 'streamgauge-tools-'));
const topic = 'traffic_tools';
const hasKcat = spawnSync('kcat', ['-V']).status === 0;
let brokers = '';
let pipeline: User;
let admin: User;

beforeAll(async () => {
  const project = createProject('tools', { partitions: 2 });
  await project.json(['provision']);
  await project.json(['produce', '--records', '500', '--bad-ratio', '0', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T01:00:00Z']);
  const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
  pipeline = await userOf('pipeline');
  admin = await userOf('admin');

  async function userOf(role: 'pipeline' | 'admin'): Promise<User> {
    const access = await clientAccess(config, role);
    if (access.sasl.mechanism !== 'scram-sha-512') throw new Error('the platform speaks SCRAM');
    brokers = access.brokers.join(',');
    return userFile(access.sasl.username, access.sasl.password.reveal());
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A client.properties (0600): passwords do not belong into a command line, in tests neither. */
function userFile(username: string, password: string): User {
  const properties = join(folder, `${username}-${password.length}-${Math.abs(hash(password))}.properties`);
  const lines = [
    'security.protocol=SASL_SSL',
    'sasl.mechanism=SCRAM-SHA-512',
    `sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="${username}" password="${password}";`,
    'ssl.truststore.type=PEM',
    `ssl.truststore.location=${join(inject('platform').stateDir, 'tls', 'ca.pem')}`,
    'default.api.timeout.ms=15000',
    'request.timeout.ms=10000',
  ];
  writeFileSync(properties, lines.join('\n'), { mode: 0o600 });
  return { username, password, properties };
}

function hash(text: string): number {
  return [...text].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) | 0, 7);
}

type Finished = { code: number | null; output: string };

function execute(command: string, args: string[], input = '', env = process.env): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.once('error', reject).once('close', (code) => resolve({ code, output }));
    child.stdin.end(input);
  });
}

function tool(name: string, user: User, ...args: string[]): Promise<Finished> {
  const { java, kafkaClasspath } = inject('platform').runtime;
  const flag = name.endsWith('ConsoleConsumer') ? '--consumer.config' : '--command-config';
  return execute(java, ['-Xmx128m', '-XX:TieredStopAtLevel=1', '-cp', kafkaClasspath, `org.apache.kafka.tools.${name}`, '--bootstrap-server', brokers, flag, user.properties, ...args]);
}

describe('Kafka’s own tools', () => {
  it('kafka-topics describes the topic with partitions and configuration', async () => {
    const { code, output } = await tool('TopicCommand', pipeline, '--describe', '--topic', topic);
    expect([code, output]).toEqual([0, expect.stringMatching(/PartitionCount: 2[\s\S]*min\.insync\.replicas=1/)]);
  });

  it('kafka-acls lists what the pipeline may', async () => {
    const { code, output } = await tool('AclCommand', admin, '--list', '--topic', topic);
    expect([code, output]).toEqual([0, expect.stringMatching(new RegExp(`User:${pipeline.username}[\\s\\S]*operation=WRITE`))]);
  });

  it('kafka-console-consumer reads every record, kafka-consumer-groups shows its group caught up', async () => {
    const read = await tool('consumer.ConsoleConsumer', pipeline, '--topic', topic, '--from-beginning', '--max-messages', '500', '--group', 'streamgauge-tools', '--timeout-ms', '60000');
    expect(read.output.match(/流量/g)).toHaveLength(500);
    const groups = await tool('consumer.group.ConsumerGroupCommand', admin, '--describe', '--group', 'streamgauge-tools');
    expect(groups.code).toBe(0);
    const lags = [...groups.output.matchAll(new RegExp(`${topic}\\s+\\d+\\s+(\\d+)\\s+(\\d+)\\s+(\\d+)`, 'g'))];
    expect(lags.length).toBe(2);
    expect(lags.reduce((sum, [, offset]) => sum + Number(offset), 0)).toBe(500);
  });

  it('a wrong password is refused', async () => {
    const { code, output } = await tool('TopicCommand', userFile(pipeline.username, 'not the password'), '--list');
    expect([code, output]).toEqual([1, expect.stringMatching(/SaslAuthenticationException|Authentication failed/)]);
  });

  it('a topic that the user has no right to is refused', async () => {
    expect((await tool('TopicCommand', admin, '--create', '--if-not-exists', '--topic', 'somebody_elses')).code).toBe(0);
    const read = await tool('consumer.ConsoleConsumer', pipeline, '--topic', 'somebody_elses', '--from-beginning', '--timeout-ms', '8000');
    expect(read.output).toMatch(/TopicAuthorizationException|Not authorized to access topics/);
    expect((await tool('TopicCommand', admin, '--delete', '--topic', 'somebody_elses')).code).toBe(0);
  });

  it('plaintext is refused', async () => {
    const plain = join(folder, 'plain.properties');
    writeFileSync(plain, 'security.protocol=PLAINTEXT\ndefault.api.timeout.ms=5000\nrequest.timeout.ms=4000\n');
    const { code } = await tool('TopicCommand', { username: '', password: '', properties: plain }, '--list');
    expect(code).toBe(1);
  });
});

// librdkafka before 2.6.1 sends a SCRAM nonce that brokers since Kafka 3.9 refuse; Debian 12's kcat runs with the one from PyPI.
describe.skipIf(!hasKcat)('kcat (Debian package kcat; skipped where it is not installed)', () => {
  const libraries = join(folder, 'lib');
  beforeAll(async () => {
    const [library] = globSync(join(dirname(await witnessPython()), '../lib/python*/site-packages/confluent_kafka.libs/librdkafka-*.so*'));
    mkdirSync(libraries);
    symlinkSync(library as string, join(libraries, 'librdkafka.so.1'));
  });

  const kcat = (user: User, args: string[], input?: string): Promise<Finished> => {
    const config = `${user.properties}.kcat`;
    const lines = ['security.protocol=SASL_SSL', 'sasl.mechanisms=SCRAM-SHA-512', `sasl.username=${user.username}`, `sasl.password=${user.password}`, `ssl.ca.location=${join(inject('platform').stateDir, 'tls', 'ca.pem')}`];
    writeFileSync(config, lines.join('\n'), { mode: 0o600 });
    return execute('kcat', ['-F', config, '-b', brokers, ...args], input, { ...process.env, LD_LIBRARY_PATH: libraries });
  };

  it('produces and consumes', async () => {
    const read = async (): Promise<string[]> => (await kcat(pipeline, ['-C', '-t', topic, '-e', '-q', '-o', 'beginning'])).output.split('\n').filter((line) => line.includes('流量'));
    const before = await read();
    expect(before.length).toBeGreaterThanOrEqual(500);
    const record = '{"timestamp": 1767600000, "流量": 4242}';
    const sent = await kcat(pipeline, ['-P', '-t', topic, '-p', '0'], `${record}\n`);
    expect([sent.code, sent.output]).toEqual([0, expect.not.stringMatching(/error/i)]);
    const after = await read();
    expect(after).toHaveLength(before.length + 1);
    expect(after).toContain(record);
  });

  it('is refused with a wrong password', async () => {
    const { code, output } = await kcat(userFile(pipeline.username, 'wrong password'), ['-L', '-m', '5']);
    expect([code, output]).toEqual([1, expect.stringMatching(/[Aa]uthentication/)]);
  });
});
