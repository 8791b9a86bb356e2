import { join } from 'node:path';
import { Hono } from 'hono';
import { openRecords } from '../disk.ts';
import { invalid, jsonBody, missing } from '../refusal.ts';

export type AccountOptions = {
  stateDir: string;
  baseUrl: string;
  workspaceId: string;
  userName: string;
  /** The one SQL warehouse: `httpPath` is where its Thrift endpoint listens. */
  warehouse: { id: string; httpPath: string };
};

type Grant = Record<string, unknown> & { permission_level: string };
type Acl = { type: string; id: string; grants: Grant[] };

export type Account = { app: Hono; setGrants(type: string, id: string, grants: unknown): void; forget(type: string, id: string): void };

/** Who I am, who may what (stored and echoed, never enforced), the warehouse, and what drivers ask in passing. */
export function accountRoutes(options: AccountOptions): Account {
  const records = openRecords<Acl>(join(options.stateDir, 'permissions'));
  const acls = new Map(records.all().map((acl) => [`${acl.type}-${acl.id}`, acl]));
  const app = new Hono();
  const me = {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
    id: '1000000000000001',
    userName: options.userName,
    displayName: options.userName,
    active: true,
    emails: [{ type: 'work', value: options.userName, primary: true }],
    groups: [{ display: 'users', type: 'direct', value: '1000000000000002' }],
  };
  app.get('/api/2.0/preview/scim/v2/Me', (c) => c.json(me, 200, { 'X-Databricks-Org-Id': options.workspaceId }));

  const grantsOf = (type: string, id: string): Grant[] =>
    acls.get(`${type}-${id}`)?.grants ?? [{ user_name: options.userName, permission_level: type === 'jobs' ? 'IS_OWNER' : 'CAN_MANAGE' }];
  function setGrants(type: string, id: string, grants: unknown): void {
    if (!/^[\w-]{1,100}$/.test(type) || !/^[\w-]{1,100}$/.test(id)) throw invalid(`${type}/${id} cannot have permissions.`);
    if (!Array.isArray(grants) || grants.some((g: Partial<Grant> | null) => typeof g?.permission_level !== 'string')) {
      throw invalid('access_control_list is a list of {user_name | group_name | service_principal_name, permission_level}.');
    }
    acls.set(`${type}-${id}`, { type, id, grants: grants as Grant[] });
    records.save(`${type}-${id}`, { type, id, grants: grants as Grant[] });
  }
  function forget(type: string, id: string): void {
    if (acls.delete(`${type}-${id}`)) records.drop(`${type}-${id}`);
  }
  const view = (type: string, id: string) => ({
    object_id: `/${type}/${id}`,
    object_type: { jobs: 'job', directories: 'directory', notebooks: 'notebook', files: 'file' }[type] ?? type,
    access_control_list: grantsOf(type, id).map(({ permission_level, ...who }) => ({ ...who, all_permissions: [{ permission_level, inherited: false }] })),
  });
  app.get('/api/2.0/permissions/:type/:id', (c) => c.json(view(c.req.param('type'), c.req.param('id'))));
  app.on(['PUT', 'PATCH'], '/api/2.0/permissions/:type/:id', async (c) => {
    const { type, id } = c.req.param();
    const given = (await jsonBody(c)).access_control_list ?? [];
    const kept = c.req.method === 'PATCH' ? grantsOf(type, id).filter((old) => !(given as Grant[]).some((g) => principal(g) === principal(old))) : [];
    setGrants(type, id, Array.isArray(given) ? [...kept, ...given] : given);
    return c.json(view(type, id));
  });

  mountWarehouse(app, options);
  app.get('/api/2.0/connector-service/feature-flags/:driver/:version', (c) => c.json({ flags: [] }));
  app.post('/telemetry-ext', async (c) => {
    const { protoLogs } = await jsonBody(c);
    return c.json({ errors: [], numSuccess: 0, numProtoSuccess: Array.isArray(protoLogs) ? protoLogs.length : 0 });
  });
  return { app, setGrants, forget };
}

function principal(grant: Grant): string {
  return JSON.stringify([grant.user_name, grant.group_name, grant.service_principal_name]);
}

function mountWarehouse(app: Hono, { baseUrl, userName, warehouse }: AccountOptions): void {
  const { hostname, port, protocol } = new URL(baseUrl);
  const answer = {
    id: warehouse.id,
    name: 'local',
    state: 'RUNNING',
    creator_name: userName,
    cluster_size: '2X-Small',
    warehouse_type: 'PRO',
    num_clusters: 1,
    odbc_params: { hostname, path: warehouse.httpPath, port: Number(port || (protocol === 'https:' ? 443 : 80)), protocol: protocol.slice(0, -1) },
  };
  app.get('/api/2.0/sql/warehouses', (c) => c.json({ warehouses: [answer] }));
  app.get('/api/2.0/sql/warehouses/:id', (c) => {
    if (c.req.param('id') !== warehouse.id) throw missing(`SQL warehouse ${c.req.param('id')} does not exist.`);
    return c.json(answer);
  });
}
