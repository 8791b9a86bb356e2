import { mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPlan, planFile, readPlan, stable, writePlan } from '../../src/deployment/file.ts';
import { planDeployment } from '../../src/deployment/plan.ts';
import { NOTHING, applied, wantedOf } from './model.ts';

const config = { bundle: 'b', target: 'dev' };
const world = (given: Parameters<typeof wantedOf>[0] = {}, found = NOTHING) => ({ wanted: wantedOf(given), found });
const made = planDeployment(wantedOf(), NOTHING);

describe('a saved plan', () => {
  it('comes back as it was, for its owner alone, with no secret in it', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'plan-')), 'p');
    const plan = planFile(config, world(), made);
    await writePlan(file, plan);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const read = await readPlan(file, config, 'deploy');
    expect(read).toEqual(JSON.parse(JSON.stringify(plan)));
    expect(() => checkPlan(read, world(), made, file)).not.toThrow();
    expect(JSON.stringify(read)).not.toContain('b:9096');
    await expect(readPlan(file, { bundle: 'b', target: 'prod' }, 'deploy')).rejects.toMatchObject({ code: 'PLAN_UNREADABLE', exitCode: 2 });
  });

  it.each([['{'], ['[]'], ['{"version":2}'], ['null']])('that is none is refused: %s', async (text) => {
    const file = join(mkdtempSync(join(tmpdir(), 'plan-')), 'p');
    writeFileSync(file, text);
    await expect(readPlan(file, config, 'deploy')).rejects.toMatchObject({ code: 'PLAN_UNREADABLE' });
  });

  it.each([
    ['the bundle', () => ({ world: world({ notebooks: { ingest: '2' } }), steps: made }), /bundle has changed/],
    ['the world', () => ({ world: world({}, applied(wantedOf(), NOTHING, made)), steps: made }), /world has moved/],
    ['the steps', () => ({ world: world(), steps: made.slice(1) }), /edited/],
  ])('is refused when %s changed', (_what, now, message) => {
    const { world: other, steps } = now();
    expect(() => checkPlan(planFile(config, world(), made), other, steps, 'p')).toThrow(expect.objectContaining({ code: 'PLAN_OUTDATED', exitCode: 6, message: expect.stringMatching(message) }));
  });

  it('does not mind runs that come and go, nor the order of keys', () => {
    const busy = { ...NOTHING, activeRuns: [{ key: 'traffic', jobId: 1, runId: 2 }] };
    expect(() => checkPlan(planFile(config, world(), made), world({}, busy), planDeployment(wantedOf(), busy), 'p')).not.toThrow();
    expect(stable({ b: 1, a: [{ d: 1, c: 2 }] })).toBe(stable({ a: [{ c: 2, d: 1 }], b: 1 }));
  });
});
