import { Failure, type FailureFacts } from '../errors.ts';

type Linked = { code?: unknown; cause?: unknown };

/** Statuses that a later attempt may not meet again: too busy, or on its way up or down. */
const PASSING = new Set([408, 429, 502, 503, 504]);
const UNTRUSTED = new Set(['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED']);

/** An answer that is an error, while `doing` something; `text` is its body. */
export function answeredFailure(status: number, text: string, doing: string): Failure {
  const facts = (known: Omit<FailureFacts, 'message'>, what: string): Failure => new Failure({ ...known, message: `Elasticsearch: ${doing}: ${what}` });
  if (status === 401) {
    return facts({ code: 'ELASTICSEARCH_AUTHENTICATION_FAILED', kind: 'access', hint: 'Check ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD.' }, 'the credentials are refused (401)');
  }
  const reason = reasonIn(text);
  if (status === 403) return facts({ code: 'ELASTICSEARCH_ACCESS_DENIED', kind: 'access', hint: 'Give the user read, write, create_index and manage on the index and on those named after it (INDEX*), and the cluster privilege manage_index_templates.' }, reason);
  return facts({ code: status === 429 ? 'ELASTICSEARCH_BUSY' : 'ELASTICSEARCH_REFUSED', kind: 'remote', retriable: PASSING.has(status) }, `status ${status}: ${reason}`);
}

/** What the client threw where Elasticsearch gave no answer, by class and code. */
export async function elasticsearchFailure(error: unknown, url: string, doing: string): Promise<Failure> {
  if (error instanceof Failure) return error;
  const { errors } = await import('@elastic/elasticsearch');
  const facts = (known: Omit<FailureFacts, 'cause' | 'message'>, what: string): Failure => new Failure({ ...known, message: `Elasticsearch: ${doing}: ${what}`, cause: withoutMeta(error) });
  const code = codeOf(error);
  if (UNTRUSTED.has(code)) {
    return facts({ code: 'ELASTICSEARCH_CERTIFICATE_UNTRUSTED', kind: 'access', hint: 'Name the certificate authority: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem' }, `the certificate of ${url} is not trusted (${code})`);
  }
  if (error instanceof errors.ProductNotSupportedError) {
    return facts({ code: 'ELASTICSEARCH_NOT_CONFIGURED', kind: 'usage', hint: 'Check ELASTICSEARCH_URL: what answers there is not Elasticsearch.' }, `${url} is not Elasticsearch`);
  }
  const isUnreachable = error instanceof errors.ConnectionError || error instanceof errors.TimeoutError || error instanceof errors.NoLivingConnectionsError;
  const message = error instanceof Error ? error.message : String(error);
  return facts(
    { code: isUnreachable ? 'ELASTICSEARCH_UNAVAILABLE' : 'ELASTICSEARCH_FAILED', kind: isUnreachable ? 'remote' : 'unexpected', retriable: isUnreachable, hint: isUnreachable ? `See whether it runs and can be reached from here: curl ${url}/_cluster/health` : undefined },
    `${url} ${isUnreachable ? `does not answer (${code || message})` : message}`,
  );
}

/** Elasticsearch's own sentence about what went wrong. */
function reasonIn(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { reason?: string; type?: string } | string };
    if (typeof error === 'string') return error;
    return error?.reason ?? error?.type ?? (text.slice(0, 500) || 'no reason given');
  } catch {
    // A proxy in between answers with HTML.
    return text.slice(0, 500) || 'no reason given';
  }
}

function codeOf(error: unknown): string {
  for (let link = error as Linked | undefined; typeof link === 'object' && link !== null; link = link.cause as Linked | undefined) {
    if (typeof link.code === 'string') return link.code;
  }
  return '';
}

/** The error without its record of the request, which holds headers and bodies. */
function withoutMeta(error: unknown): unknown {
  if (!(error instanceof Error) || !('meta' in error)) return error;
  const plain = new Error(error.message, { cause: error.cause });
  plain.name = error.name;
  return plain;
}
