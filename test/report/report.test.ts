import { describe, expect, it } from 'vitest';
import { Failure, Secret } from '../../src/errors.ts';
import { failureJson, renderFailure } from '../../src/report/failure.ts';
import { renderJson } from '../../src/report/json.ts';
import { createProgress, seconds } from '../../src/report/progress.ts';
import { renderBlocks, width } from '../../src/report/text.ts';

describe('text', () => {
  it('aligns a table, numbers to the right, wide characters by their columns', () => {
    const text = renderBlocks([{ kind: 'table', columns: ['name', 'count'], rows: [['流量', 5], ['a', 12345n], ['b', null]] }]);
    expect(text.split('\n')).toEqual(['  name  count', '  ────  ─────', '  流量      5', '  a     12345', '  b         -']);
  });
  it('shows no control characters of the data', () => {
    expect(renderBlocks([{ kind: 'facts', facts: [['x', 'a\u001b[2Jb\nc']] }])).toBe('  x  a�[2Jb⏎c');
  });
  it.each([['abc', 3], ['流量', 4], ['é', 1], ['🚦', 2]])('width of %s', (text, columns) => expect(width(text)).toBe(columns));
});

describe('json', () => {
  it('writes integers beyond 2^53 with all their digits', () => {
    expect(renderJson({ sum: 2n ** 63n, n: 1 })).toBe('{\n  "sum": 9223372036854775808,\n  "n": 1\n}');
  });
});

describe('failures', () => {
  const failure = new Failure({ code: 'X', kind: 'remote', message: 'the broker is down', hint: 'Start it.', cause: new Error('ECONNREFUSED', { cause: new Error('deeper') }) });
  it('say what, why and what to do next', () => {
    expect(renderFailure(failure)).toBe('error: the broker is down\n  cause: ECONNREFUSED\n  cause: deeper\nhint: Start it.');
  });
  it('as JSON carry code, kind and exit code', () => {
    expect(failureJson(failure)).toEqual({ error: { code: 'X', kind: 'remote', message: 'the broker is down', hint: 'Start it.', exit_code: 4, causes: ['ECONNREFUSED', 'deeper'] } });
  });
  it('what nobody foresaw is a document of the same shape', () => {
    expect(failureJson(new TypeError('x is not a function', { cause: 'y' }))).toEqual({ error: { code: 'UNEXPECTED', kind: 'unexpected', message: 'x is not a function', exit_code: 1, causes: ['y'] } });
  });
  it('a secret shows nowhere', () => {
    const secret = new Secret('hunter2');
    expect(`${secret} ${JSON.stringify({ secret })} ${renderJson({ secret })}`).not.toContain('hunter2');
    expect(secret.reveal()).toBe('hunter2');
  });
});

describe('progress', () => {
  const written = (animate: boolean) => {
    let text = '';
    let clock = 0;
    const progress = createProgress({ sink: { columns: 30, write: (piece: string) => (text += piece) }, animate, now: () => clock, quietMs: 1000 });
    return { progress, text: () => text, tick: (ms: number) => (clock += ms) };
  };
  it('off a terminal throttles updates and keeps notes', () => {
    const { progress, text, tick } = written(false);
    progress.stage('produce');
    progress.update('1');
    tick(1500);
    progress.update('2');
    progress.note('done');
    expect(text()).toBe('• produce\n  2\n  done\n');
  });
  it('on a terminal redraws one line and never lets it wrap', () => {
    const { progress, text, tick } = written(true);
    progress.stage('produce');
    progress.update('x'.repeat(100));
    tick(2000);
    progress.end();
    const lines = text().split(/\r\u001b\[2K|\n/);
    expect(Math.max(...lines.map(width))).toBeLessThan(30);
    expect(text()).toMatch(/✔ produce {2}2\.0 s\n$/);
  });
  it.each([[400, '0.4 s'], [12_300, '12 s'], [185_000, '3 min 05 s']])('%i ms', (ms, text) => expect(seconds(ms)).toBe(text));
});
