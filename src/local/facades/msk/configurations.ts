import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Hono } from 'hono';
import { z } from 'zod';
import { openRecords } from '../../records.ts';
import { routeTable } from '../routes.ts';
import { bad, msk, mskError, pageOf, paging } from './errors.ts';
import type { ConfigurationInfo } from './shapes.ts';

type Revision = { revision: number; creationTime: string; description?: string; serverProperties: string };
type Configuration = { id: string; arn: string; name: string; creationTime: string; kafkaVersions: string[]; revisions: Revision[] };

export type Configurations = {
  routes(inUse: (arn: string) => boolean): Hono;
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

const byName = z.object({ arn: z.string() });
const revised = z.object({ serverProperties: z.base64(), description: z.string().optional() });
const created = revised.extend({ name: z.string().regex(/^[0-9A-Za-z][0-9A-Za-z-]*$/, 'letters, digits and hyphens'), kafkaVersions: z.array(z.string()).default([]) });

/** MSK configurations: named sets of broker properties in revisions. */
export function openConfigurations(stateDir: string, arnPrefix: string): Configurations {
  const known = openRecords(join(stateDir, 'configurations'), (one: Configuration) => one.id);
  const byArn = (arn: string) => [...known.values()].find((one) => one.arn === arn);
  const revisionOf = (one: Configuration | undefined, number: number): Revision => {
    const found = one?.revisions[number - 1];
    if (found === undefined) throw bad(`There is no revision ${number} of this configuration.`, 'revision');
    return found;
  };
  const revise = (one: Configuration, given: z.infer<typeof revised>): Configuration => {
    propertiesIn(given.serverProperties);
    return known.save({ ...one, revisions: [...one.revisions, { ...given, revision: one.revisions.length + 1, creationTime: new Date().toISOString() }] });
  };
  const view = ({ revisions, id: _id, ...one }: Configuration) => {
    const { serverProperties: _properties, ...latestRevision } = revisions.at(-1) as Revision;
    return { ...one, description: latestRevision.description, latestRevision, state: 'ACTIVE' };
  };

  function routes(inUse: (arn: string) => boolean): Hono {
    const { app, get, post, put, delete: remove } = routeTable('/v1/configurations', msk);
    const named = (arn: string): Configuration => {
      const found = byArn(arn);
      if (found === undefined) throw mskError('NotFoundException', `The requested resource ${arn} does not exist.`, 'arn');
      return found;
    };
    post('/', created, ({ name, kafkaVersions, ...given }) => {
      if ([...known.values()].some((one) => one.name === name)) throw mskError('ConflictException', `A resource already exists with the name ${name}.`, 'name');
      const id = `${randomUUID()}-1`;
      return view(revise({ id, arn: `${arnPrefix}:configuration/${name}/${id}`, name, kafkaVersions, creationTime: new Date().toISOString(), revisions: [] }, given));
    });
    get('/', paging, (page) => {
      const { items, nextToken } = pageOf(page, [...known.values()]);
      return { configurations: items.map(view), nextToken };
    });
    get('/:arn', byName, ({ arn }) => view(named(arn)));
    put('/:arn', revised.extend(byName.shape), ({ arn, ...given }) => view(revise(named(arn), given)));
    get('/:arn/revisions/:revision', byName.extend({ revision: z.coerce.number() }), ({ arn, revision }) => ({ arn, ...revisionOf(named(arn), revision) }));
    remove('/:arn', byName, ({ arn }) => {
      if (inUse(arn)) throw bad('The configuration is in use by a cluster.', 'arn');
      known.drop(named(arn).id);
      return { arn, state: 'DELETING' };
    });
    return app;
  }
  return { routes, propertiesOf: ({ arn, revision }) => propertiesIn(revisionOf(byArn(arn), revision).serverProperties) };
}

/** The properties in base64 `name=value` lines; BadRequestException for one that MSK does not let a configuration set. */
function propertiesIn(base64: string): Record<string, string> {
  const lines = Buffer.from(base64, 'base64').toString('utf8').split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line) => {
    const [, name = line, value = ''] = /^([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (!ALLOWED.has(name)) throw bad(`The configuration sets ${name}, which MSK does not let it set.`, 'serverProperties');
    // A broker would not start with another.
    const fits = /\.(enable|found)$/.test(name) ? /^(true|false)$/ : /\.(type|policy|class)$/.test(name) ? /^[\w.,-]+$/ : /^-?\d+(\.\d+)?$/;
    if (!fits.test(value)) throw bad(`${value} is not a value of ${name}.`, 'serverProperties');
    return [name, value];
  }));
}
