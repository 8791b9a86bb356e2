import type { Client } from '@elastic/elasticsearch';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { answeredFailure, elasticsearchFailure } from './failure.ts';

export type ElasticsearchRequest = {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  /** JSON value; text is sent as it is, as NDJSON (a `_bulk` body). */
  body?: unknown;
  query?: Record<string, string>;
  /** Statuses that are an answer here, not an error. */
  accept?: number[];
};

export type ElasticsearchAnswer = { status: number; text: string };

/** An authenticated way to the cluster: each answer as it came, so that no digit is lost; every error is a Failure. */
export type Elasticsearch = {
  url: string;
  request(doing: string, request: ElasticsearchRequest): Promise<ElasticsearchAnswer>;
  close(): Promise<void>;
};

const REQUEST_TIMEOUT_MS = 60_000;

/** A client for the configured cluster; nothing is sent yet. Failure ELASTICSEARCH_NOT_CONFIGURED where the environment names none. */
export async function openElasticsearch(config: Pick<Config, 'elasticsearch' | 'target'>, signal?: AbortSignal): Promise<Elasticsearch> {
  const access = config.elasticsearch;
  if (access === undefined) {
    throw new Failure({
      code: 'ELASTICSEARCH_NOT_CONFIGURED',
      kind: 'usage',
      message: 'the environment names no Elasticsearch',
      hint: `Set ELASTICSEARCH_URL with ELASTICSEARCH_API_KEY, or with ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD, for example in .streamgauge/${config.target}.env.`,
    });
  }
  const { Client: ElasticsearchClient, HttpConnection } = await import('@elastic/elasticsearch');
  const { auth, url } = access;
  const client = new ElasticsearchClient({
    node: url,
    auth: 'apiKey' in auth ? { apiKey: auth.apiKey.reveal() } : { username: auth.username, password: auth.password.reveal() },
    // Repeating is decided here, by what a request does; node:https takes the process's certificate authorities.
    maxRetries: 0,
    requestTimeout: REQUEST_TIMEOUT_MS,
    Connection: HttpConnection,
    redaction: { type: 'remove' },
  });
  return {
    url,
    request: async (doing, request) => await send(client, url, doing, request, signal),
    close: async () => await client.close(),
  };
}

async function send(client: Client, url: string, doing: string, { method, path, body, query, accept = [] }: ElasticsearchRequest, signal?: AbortSignal): Promise<ElasticsearchAnswer> {
  const payload = typeof body === 'string' ? { bulkBody: body } : body === undefined ? {} : { body: body as Record<string, unknown> };
  try {
    // As a stream: the client's own reading of JSON would round integers beyond 2^53.
    const answer = await client.transport.request<AsyncIterable<Buffer>>(
      { method, path, ...(query === undefined ? {} : { querystring: query }), ...payload },
      { meta: true, asStream: true, signal },
    );
    const text = Buffer.concat(await Array.fromAsync(answer.body)).toString();
    const status = answer.statusCode ?? 0;
    if (status >= 400 && !accept.includes(status)) throw answeredFailure(status, text, doing);
    return { status, text };
  } catch (error) {
    signal?.throwIfAborted();
    throw await elasticsearchFailure(error, url, doing);
  }
}
