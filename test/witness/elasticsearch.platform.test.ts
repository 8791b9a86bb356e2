import { readFileSync } from 'node:fs';
import { Client, errors } from '@elastic/elasticsearch';
import { afterAll, describe, expect, inject, it } from 'vitest';

// Elasticsearch's own client, with the user that the controller has.
describe('@elastic/elasticsearch', () => {
  const { ELASTICSEARCH_URL = '', ELASTICSEARCH_USERNAME = '', ELASTICSEARCH_PASSWORD = '', NODE_EXTRA_CA_CERTS = '' } = inject('environment');
  const open = (password = ELASTICSEARCH_PASSWORD): Client =>
    new Client({ node: ELASTICSEARCH_URL, auth: { username: ELASTICSEARCH_USERNAME, password }, tls: { ca: readFileSync(NODE_EXTRA_CA_CERTS) }, maxRetries: 0 });
  const client = open();
  const index = 'traffic_windows_witness';
  afterAll(async () => {
    await client.indices.delete({ index }, { ignore: [404] });
    await client.close();
  });

  it('writes in bulk, refreshes, counts, searches', async () => {
    const documents = Array.from({ length: 1000 }, (_, at) => ({ count: at }));
    const { errors: failed, items } = await client.helpers
      .bulk({ datasource: documents, onDocument: (document) => ({ index: { _index: index, _id: String(document.count) } }), refreshOnCompletion: true })
      .then((stats) => ({ errors: stats.failed, items: stats.successful }));
    expect([failed, items]).toEqual([0, 1000]);
    expect((await client.count({ index })).count).toBe(1000);
    const { hits } = await client.search<{ count: number }>({ index, query: { range: { count: { gte: 998 } } }, sort: ['count'] });
    expect(hits.hits.map((hit) => hit._source?.count)).toEqual([998, 999]);
  });

  it('is refused at every other index', async () => {
    const refusals = await Promise.all(
      [client.index({ index: 'somebody_elses', document: { a: 1 } }), client.search({ index: 'somebody_elses' }), client.indices.create({ index: 'somebody_elses' })].map((call) => call.then(() => 0, (error: unknown) => (error instanceof errors.ResponseError ? error.statusCode : error))),
    );
    expect(refusals).toEqual([403, 403, 403]);
  });

  it('is refused with a wrong password', async () => {
    const stranger = open('wrong');
    await expect(stranger.count({ index })).rejects.toMatchObject({ statusCode: 401 });
    await stranger.close();
  });
});
