import { Failure, messageOf, type FailureFacts } from '../errors.ts';

type Coded = { code?: unknown; apiId?: unknown; canRetry?: unknown; cause?: unknown; errors?: unknown };

const UNTRUSTED = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED',
]);

const DENIED = new Set(['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED', 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED']);
const UNAUTHENTICATED = new Set(['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE']);
const TOO_LARGE = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);
/** The broker's memory of this producer is not ours: records may be missing or doubled, so nothing more is sent. */
const SEQUENCE_LOST = new Set(['OUT_OF_ORDER_SEQUENCE_NUMBER', 'UNKNOWN_PRODUCER_ID', 'INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED', 'DUPLICATE_SEQUENCE_NUMBER']);

/** What a Kafka client threw while `doing` something (`sending to t/0`), as a Failure: `retriable` where a later attempt may succeed. */
export function kafkaFailure(error: unknown, doing: string): Failure {
  if (error instanceof Failure) return error;
  const chain = [...chainOf(error)];
  const ids = chain.flatMap((link) => [link.apiId, link.code]).filter((id) => typeof id === 'string');
  const facts = (known: Omit<FailureFacts, 'message' | 'cause'>): Failure =>
    new Failure({ ...known, message: `Kafka: ${doing}: ${messageOf(rootOf(error))}`, cause: error });
  const has = (codes: ReadonlySet<string>): boolean => ids.some((id) => codes.has(id));

  if (has(UNAUTHENTICATED) || ids.includes('PLT_KFK_AUTHENTICATION')) {
    return facts({ code: 'KAFKA_AUTHENTICATION_FAILED', kind: 'access', hint: 'Renew the credentials and their association with the cluster: streamgauge provision' });
  }
  if (has(UNTRUSTED)) {
    return facts({ code: 'KAFKA_CERTIFICATE_UNTRUSTED', kind: 'access', hint: "Name the brokers' certificate authority: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem" });
  }
  if (has(DENIED)) return facts({ code: 'KAFKA_ACCESS_DENIED', kind: 'access', hint: 'Give the user its rights on the topic: streamgauge provision' });
  if (has(TOO_LARGE)) {
    return facts({ code: 'RECORD_TOO_LARGE', kind: 'usage', hint: "Send a smaller record, or raise the topic's max.message.bytes." });
  }
  if (has(SEQUENCE_LOST)) {
    return facts({ code: 'KAFKA_PRODUCER_STATE_LOST', kind: 'remote', hint: 'Compare the topic with what was acknowledged before sending the rest: streamgauge status' });
  }
  const retriable = chain.some((link) => link.canRetry === true) && !chain.some((link) => link.canRetry === false && link.apiId !== undefined);
  return facts({
    code: retriable ? 'KAFKA_UNAVAILABLE' : 'KAFKA_REFUSED',
    kind: 'remote',
    retriable,
    hint: retriable ? 'See whether the cluster is ACTIVE and its brokers can be reached from here: streamgauge status' : undefined,
  });
}

/** The failure of a topic that does not exist. */
export function topicMissing(topic: string, cause?: unknown): Failure {
  return new Failure({ code: 'TOPIC_NOT_FOUND', kind: 'remote', message: `Kafka has no topic ${topic}`, hint: 'Create it: streamgauge provision', cause });
}

/** True where a client's error says that a topic is not there. */
export function saysTopicMissing(error: unknown): boolean {
  return [...chainOf(error)].some((link) => link.apiId === 'UNKNOWN_TOPIC_OR_PARTITION');
}

/** True where a client's error says that what was to be made is there, or made larger already. */
export function saysTopicThere(error: unknown): boolean {
  return [...chainOf(error)].some((link) => link.apiId === 'TOPIC_ALREADY_EXISTS' || link.apiId === 'INVALID_PARTITIONS');
}

function* chainOf(error: unknown): Generator<Coded> {
  if (typeof error !== 'object' || error === null) return;
  const link: Coded = error;
  yield link;
  if (Array.isArray(link.errors)) for (const inner of link.errors) yield* chainOf(inner);
  yield* chainOf(link.cause);
}

/** The innermost error: its sentence names the reason, the outer ones only repeat what was tried. */
function rootOf(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return error;
  const link: Coded = error;
  if (Array.isArray(link.errors) && link.errors.length > 0) return rootOf(link.errors.at(-1));
  return link.cause === undefined ? error : rootOf(link.cause);
}
