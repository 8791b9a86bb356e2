import { join } from 'node:path';
import type { Hono } from 'hono';
import { z } from 'zod';
import { openRecords } from '../../records.ts';
import { missing } from '../refusal.ts';
import { nothing, parsed, routeTable, word } from '../routes.ts';

export type AccountOptions = {
  stateDir: string;
  baseUrl: string;
  workspaceId: string;
  userName: string;
  /** The service principal: its user name is its id. */
  client?: { id: string };
  /** The one SQL warehouse: `httpPath` is where its Thrift endpoint listens. */
  warehouse: { id: string; httpPath: string };
};

export type Account = { app: Hono; setGrants(type: string, id: string, grants: unknown): void; forget(type: string, id: string): void };

const name = z.string().regex(/^[\w-]{1,100}$/);
const grants = z.array(z.looseObject({ permission_level: z.string() }));
const subject = z.object({ type: name, id: name });
const acl = subject.extend({ grants });
type Acl = z.infer<typeof acl>;

/** Who I am, who may what (stored and echoed, never enforced), the warehouse, and what drivers ask in passing. */
export function accountRoutes(options: AccountOptions): Account {
  const { userName, warehouse } = options;
  const acls = openRecords(join(options.stateDir, 'permissions'), ({ type, id }: Acl) => `${type}-${id}`);
  const { app, get, post, put } = routeTable('/');
  get('/api/2.0/preview/scim/v2/Me', nothing, (_, c) => {
    c.header('X-Databricks-Org-Id', options.workspaceId);
    const principal = options.client?.id;
    if (principal !== undefined && c.get('subject') === principal) return { id: '1000000000000002', userName: principal, displayName: 'streamgauge', active: true };
    return { id: '1000000000000001', userName, displayName: userName, active: true, emails: [{ type: 'work', value: userName, primary: true }] };
  });

  const setGrants = (type: string, id: string, list: unknown) => void acls.save(parsed(acl, { type, id, grants: list }));
  const grantsOf = (type: string, id: string) => acls.get(`${type}-${id}`)?.grants ?? [{ user_name: userName, permission_level: type === 'jobs' ? 'IS_OWNER' : 'CAN_MANAGE' }];
  const view = (type: string, id: string) => ({
    object_id: `/${type}/${id}`,
    object_type: type === 'directories' ? 'directory' : type.replace(/s$/, ''),
    access_control_list: grantsOf(type, id).map(({ permission_level, ...who }) => ({ ...who, all_permissions: [{ permission_level, inherited: false }] })),
  });
  get('/api/2.0/permissions/:type/:id', subject, ({ type, id }) => view(type, id));
  put('/api/2.0/permissions/:type/:id', subject.extend({ access_control_list: grants.default([]) }), ({ type, id, access_control_list: list }) => {
    setGrants(type, id, list);
    return view(type, id);
  });

  const { hostname, port, protocol } = new URL(options.baseUrl);
  const odbc_params = { hostname, path: warehouse.httpPath, port: Number(port || 443), protocol: protocol.slice(0, -1) };
  const only = { id: warehouse.id, name: 'local', state: 'RUNNING', creator_name: userName, cluster_size: '2X-Small', warehouse_type: 'PRO', num_clusters: 1, odbc_params };
  get('/api/2.0/sql/warehouses', nothing, () => ({ warehouses: [only] }));
  get('/api/2.0/sql/warehouses/:id', z.object({ id: word }), ({ id }) => {
    if (id !== only.id) throw missing(`SQL warehouse ${id} does not exist.`);
    return only;
  });
  get('/api/2.0/connector-service/feature-flags/:driver/:version', nothing, () => ({ flags: [] }));
  post('/telemetry-ext', z.object({ protoLogs: z.array(z.unknown()).default([]) }), ({ protoLogs }) => ({ errors: [], numSuccess: 0, numProtoSuccess: protoLogs.length }));
  return { app, setGrants, forget: (type, id) => acls.drop(`${type}-${id}`) };
}
