import { describe, expect, it } from 'vitest';
import { Failure } from '../../src/errors.ts';
import { startTogether, type Part } from '../../src/local/together.ts';

const quiet = { update: () => {}, note: () => {} };
const failure = (message: string) => new Failure({ code: 'PORT_BUSY', kind: 'usage', message, hint: 'move it' });

/** A part that is up at once, one that fails, one that waits to be given up. */
const up = (name: string): Part<string> => ({ name, start: async () => name });
const fails = (name: string, error: unknown): Part<string> => ({ name, start: () => Promise.reject(error) });
const waits = (name: string, given: string[]): Part<string> => ({
  name,
  start: (signal) =>
    new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        given.push(name);
        reject(signal.reason);
      }),
    ),
});

describe('parts that start together', () => {
  it('are returned in their order, and each is announced', async () => {
    const said: string[] = [];
    const progress = { update: (text: string) => void said.push(text), note: (text: string) => void said.push(text) };
    expect(await startTogether([up('a'), up('b')], async () => {}, progress)).toEqual(['a', 'b']);
    expect(said[0]).toBe('starting a, b');
    expect(said.filter((text) => / is up after \d+\.\d s$/.test(text))).toHaveLength(2);
  });

  it('are stopped or given up when one fails, whose failure is thrown', async () => {
    const stopped: string[] = [];
    const given: string[] = [];
    const cause = failure('9200 is busy');
    const parts = [up('a'), fails('b', cause), waits('c', given)];
    await expect(startTogether(parts, async (name) => void stopped.push(name), quiet)).rejects.toBe(cause);
    expect({ stopped, given }).toEqual({ stopped: ['a'], given: ['c'] });
  });

  it('that fail for reasons of their own are one failure that says all', async () => {
    const parts = [fails('a', failure('9200 is busy')), fails('b', failure('15002 is busy'))];
    const thrown = await startTogether(parts, async () => {}, quiet).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'PORT_BUSY', kind: 'usage', message: '9200 is busy\n15002 is busy', hint: 'move it' });
  });

  it('are given up when the user says so', async () => {
    const asked = new AbortController();
    const given: string[] = [];
    const starting = startTogether([waits('a', given)], async () => {}, quiet, asked.signal);
    asked.abort(new Error('interrupted'));
    await expect(starting).rejects.toThrow('interrupted');
    expect(given).toEqual(['a']);
  });
});
