import { describe, expect, it } from 'vitest';
import { tableNames } from '../../src/databricks/tables.ts';
import { windowMinutes } from '../../src/proof/length.ts';
import { warehouse } from '../databricks/warehouse.ts';

const tables = tableNames({ catalog: 'c', schema: 's' });

describe('the length of the windows that a proof is about', () => {
  const asked = async (properties: Record<string, string>, configured: number): Promise<{ minutes: number; said: string[] }> => {
    const said: string[] = [];
    return { minutes: await windowMinutes(warehouse({}, { windows: properties }), tables, { target: 'prod', configured }, (text) => said.push(text)), said };
  };

  it.each([
    ['as the configuration has it', { 'streamgauge.window_minutes': '10' }, 10, 10],
    ['by the configuration, of a table that does not say', {}, 15, 15],
    ['the table\'s, while a swap is not decided', { 'streamgauge.window_minutes': '10', 'streamgauge.rebuild': '{"decided":false,"minutes":5}' }, 10, 10],
  ])('is %s, without a word', async (_name, properties, configured, minutes) => {
    expect(await asked(properties, configured)).toEqual({ minutes, said: [] });
  });

  it('is the table\'s where the configuration was changed and nothing computed anew, and it says with which command that is', async () => {
    const { minutes, said } = await asked({ 'streamgauge.window_minutes': '10' }, 5);
    expect([minutes, said]).toEqual([10, [expect.stringMatching(/holds windows of 10 minutes, and window_minutes is 5 .*streamgauge windows rebuild --window 5m -t prod/)]]);
  });

  it('is not known in the middle of a swap', async () => {
    await expect(asked({ 'streamgauge.window_minutes': '10', 'streamgauge.rebuild': '{"decided":true,"minutes":5}' }, 10)).rejects.toMatchObject({ code: 'SWAP_UNDER_WAY', hint: expect.stringContaining('windows rebuild -t prod') });
  });
});
