import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inject } from 'vitest';

/** A request as the platform's administrator, not as streamgauge: what somebody else might do to the index. The answer as text, so that no digit is lost; throws on an error's status. */
export async function elasticsearch(method: string, path: string, body?: string): Promise<string> {
  const { ELASTICSEARCH_URL = '', NODE_EXTRA_CA_CERTS = '' } = inject('environment');
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(NODE_EXTRA_CA_CERTS, 'utf8')]);
  const { elasticsearchAdminPassword } = JSON.parse(readFileSync(join(inject('platform').stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
  const answer = await fetch(`${ELASTICSEARCH_URL}${path}`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Basic ${Buffer.from(`admin:${elasticsearchAdminPassword}`).toString('base64')}` },
    body,
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.text();
}
