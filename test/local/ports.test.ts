import { afterEach, describe, expect, it } from 'vitest';
import { assertPortsFree, layOutPorts, portOptionsFrom, portVariable } from '../../src/local/ports.ts';
import { assertPortFree } from '../../src/local/servers/port.ts';
import { occupiedPort } from './ports.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function occupied(): Promise<number> {
  const { port, close } = await occupiedPort();
  closing.push(close);
  return port;
}

describe('ports', () => {
  it('are the documented ones without settings', () => {
    expect(layOutPorts({})).toEqual({
      workspace: 8443,
      aws: 8444,
      moto: 8445,
      spark: 15002,
      elasticsearch: { http: 9200, transport: 9300 },
      kafka: [
        { clients: 9096, internal: 9196, controller: 9296 },
        { clients: 9097, internal: 9197, controller: 9297 },
        { clients: 9098, internal: 9198, controller: 9298 },
        { clients: 9099, internal: 9199, controller: 9299 },
      ],
    });
  });

  it.each([
    [{ STREAMGAUGE_PORT_OFFSET: '1000' }, { workspace: 9443, aws: 9444, spark: 16002 }],
    [{ STREAMGAUGE_PORT_OFFSET: '1000', STREAMGAUGE_WORKSPACE_PORT: '443' }, { workspace: 443, aws: 9444 }],
    [{ STREAMGAUGE_ELASTICSEARCH_PORT: '19200' }, { elasticsearch: { http: 19_200, transport: 19_300 } }],
    [{ STREAMGAUGE_PORT_OFFSET: '' }, { workspace: 8443 }],
  ])('%j gives %j', (variables, expected) => {
    expect(layOutPorts(portOptionsFrom(variables))).toMatchObject(expected);
  });

  it.each([
    [{ STREAMGAUGE_SPARK_PORT: 'http', STREAMGAUGE_AWS_PORT: '70000' }, /STREAMGAUGE_AWS_PORT=70000, STREAMGAUGE_SPARK_PORT=http/],
    [{ STREAMGAUGE_PORT_OFFSET: '-1' }, /STREAMGAUGE_PORT_OFFSET=-1/],
    [{ STREAMGAUGE_WORKSPACE_PORT: '0' }, /STREAMGAUGE_WORKSPACE_PORT=0/],
    [{ STREAMGAUGE_PORT_OFFSET: '51000' }, /66002 for Spark Connect is beyond 65535/],
    [{ STREAMGAUGE_MOTO_PORT: '8443' }, /8443 for .* is also wanted by another part/],
  ])('%j is refused', (variables, message) => {
    expect(() => layOutPorts(portOptionsFrom(variables))).toThrow(message);
  });

  it('that are busy are all named at once, each with the variable that moves it', async () => {
    const [workspace, spark] = [await occupied(), await occupied()];
    const refused = await assertPortsFree(layOutPorts({ offset: 40_000, workspace, spark })).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'PORT_BUSY', kind: 'usage', hint: expect.stringContaining('STREAMGAUGE_WORKSPACE_PORT=PORT') });
    const { message } = refused as Error;
    expect(message).toContain(`port ${workspace} for the Databricks workspace (STREAMGAUGE_WORKSPACE_PORT) is not free`);
    expect(message).toContain(`port ${spark} for Spark Connect (STREAMGAUGE_SPARK_PORT) is not free`);
  });

  it.runIf(process.platform === 'linux')('that are busy are named with who holds them', async () => {
    const port = await occupied();
    await expect(assertPortFree({ port, name: 'Kafka', variable: portVariable('kafka') })).rejects.toThrow(`(EADDRINUSE): held by process ${process.pid} (node)`);
  });

  it('that are free pass', async () => {
    const port = await occupied();
    await closing.pop()?.();
    await expect(assertPortFree({ port, name: 'x', variable: portVariable('kafka') })).resolves.toBeUndefined();
  });
});
