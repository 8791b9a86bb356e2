import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Hono } from 'hono';
import { openRecords } from '../disk.ts';
import { bodyOf, mskError, pageOf } from './errors.ts';

type Revision = { revision: number; creationTime: string; description?: string; serverProperties: string };
type Configuration = { arn: string; name: string; creationTime: string; kafkaVersions: string[]; revisions: Revision[] };

/** The revision of a configuration that a cluster runs with. */
export type ConfigurationInfo = { arn: string; revision: number };

export type Configurations = {
  mount(app: Hono, inUse: (arn: string) => boolean): void;
  /** The broker properties of a revision; BadRequestException if there is none. */
  propertiesOf(info: ConfigurationInfo): Record<string, string>;
};

/** The properties that MSK lets a configuration set; of the others it says so when the configuration is created. */
const ALLOWED = new Set(
  `allow.everyone.if.no.acl.found auto.create.topics.enable compression.type connections.max.idle.ms default.replication.factor delete.topic.enable
  group.initial.rebalance.delay.ms group.max.session.timeout.ms group.min.session.timeout.ms leader.imbalance.per.broker.percentage
  log.cleaner.delete.retention.ms log.cleaner.min.cleanable.ratio log.cleanup.policy log.flush.interval.messages log.flush.interval.ms
  log.message.timestamp.difference.max.ms log.message.timestamp.type log.retention.bytes log.retention.hours log.retention.minutes log.retention.ms
  log.roll.ms log.segment.bytes max.incremental.fetch.session.cache.slots message.max.bytes min.insync.replicas num.io.threads num.network.threads
  num.partitions num.recovery.threads.per.data.dir num.replica.fetchers offsets.retention.minutes offsets.topic.replication.factor
  replica.fetch.max.bytes replica.fetch.response.max.bytes replica.lag.time.max.ms replica.selector.class replica.socket.receive.buffer.bytes
  socket.receive.buffer.bytes socket.request.max.bytes socket.send.buffer.bytes transaction.max.timeout.ms transaction.state.log.min.isr
  transaction.state.log.replication.factor transactional.id.expiration.ms unclean.leader.election.enable`.split(/\s+/),
);

/** MSK configurations: named sets of broker properties in revisions. */
export function openConfigurations(stateDir: string, arnPrefix: string, now = () => new Date().toISOString()): Configurations {
  const records = openRecords<Configuration>(join(stateDir, 'configurations'));
  const known = new Map(records.all().map((one) => [one.arn, one]));
  const idOf = ({ arn }: Configuration) => arn.slice(arn.lastIndexOf('/') + 1);
  const save = (one: Configuration) => void (known.set(one.arn, one), records.save(idOf(one), one));

  function get(arn: string): Configuration {
    const found = known.get(arn);
    if (found === undefined) throw mskError('NotFoundException', `The requested resource ${arn} does not exist.`, 'arn');
    return found;
  }
  function revisionOf(one: Configuration, number: number): Revision {
    const found = one.revisions[number - 1];
    if (found === undefined) throw mskError('BadRequestException', `Configuration ${one.name} has no revision ${number}.`, 'revision');
    return found;
  }
  function added(one: Configuration, body: Record<string, unknown>): Configuration {
    const serverProperties = String(body.serverProperties ?? '');
    propertiesIn(serverProperties);
    const revision: Revision = { revision: one.revisions.length + 1, creationTime: now(), description: body.description === undefined ? undefined : String(body.description), serverProperties };
    const next = { ...one, revisions: [...one.revisions, revision] };
    save(next);
    return next;
  }
  const shown = (revision: Revision) => ({ ...revision, serverProperties: undefined });
  const view = ({ revisions, ...one }: Configuration) => {
    const latestRevision = shown(revisions.at(-1) as Revision);
    return { ...one, description: latestRevision.description, latestRevision, state: 'ACTIVE' };
  };

  return {
    propertiesOf: ({ arn, revision }) => propertiesIn(revisionOf(known.get(arn) ?? bad('The configuration does not exist.', 'configurationInfo'), revision).serverProperties),
    mount(app, inUse) {
      const path = '/v1/configurations';
      app.post(path, async (c) => {
        const body = await bodyOf(c);
        const name = String(body.name ?? '');
        if (!/^[0-9A-Za-z][0-9A-Za-z-]*$/.test(name)) bad('A configuration name has letters, digits and hyphens.', 'name');
        if ([...known.values()].some((one) => one.name === name)) throw mskError('ConflictException', `A resource already exists with the name ${name}.`, 'name');
        const versions = Array.isArray(body.kafkaVersions) ? body.kafkaVersions.map(String) : [];
        return c.json(view(added({ arn: `${arnPrefix}:configuration/${name}/${randomUUID()}-1`, name, creationTime: now(), kafkaVersions: versions, revisions: [] }, body)));
      });
      app.get(path, (c) => {
        const { items, nextToken } = pageOf(c, [...known.values()]);
        return c.json({ configurations: items.map(view), nextToken });
      });
      app.get(`${path}/:arn`, (c) => c.json(view(get(c.req.param('arn')))));
      app.put(`${path}/:arn`, async (c) => c.json(view(added(get(c.req.param('arn')), await bodyOf(c)))));
      app.delete(`${path}/:arn`, (c) => {
        const one = get(c.req.param('arn'));
        if (inUse(one.arn)) bad('The configuration is in use by a cluster.', 'arn');
        records.drop(idOf(one));
        known.delete(one.arn);
        return c.json({ arn: one.arn, state: 'DELETING' });
      });
      app.get(`${path}/:arn/revisions/:revision`, (c) => {
        const one = get(c.req.param('arn'));
        return c.json({ arn: one.arn, ...revisionOf(one, Number(c.req.param('revision'))) });
      });
    },
  };
}

/** The properties in base64 `name=value` lines; BadRequestException for one that MSK does not let a configuration set. */
function propertiesIn(base64: string): Record<string, string> {
  const lines = Buffer.from(base64, 'base64').toString('utf8').split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line) => {
    const [, name = '', value = ''] = /^([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (!ALLOWED.has(name)) bad(`The configuration sets ${name || line}, which MSK does not let it set.`, 'serverProperties');
    // A broker would not start with it.
    const fits = /\.(enable|found)$/.test(name) ? /^(true|false)$/ : /\.(type|policy|class)$/.test(name) ? /^[\w.,-]+$/ : /^-?\d+(\.\d+)?$/;
    if (!fits.test(value)) bad(`${value} is not a value of ${name}.`, 'serverProperties');
    return [name, value];
  }));
}

function bad(message: string, parameter: string): never {
  throw mskError('BadRequestException', message, parameter);
}
