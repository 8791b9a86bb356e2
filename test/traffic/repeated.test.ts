import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { repeatsName } from '../../src/traffic/repeated.ts';

describe('repeatsName', () => {
  it.each([
    ['{"a":1,"a":2}', true],
    ['{"a":1,"\\u0061":2}', true],
    ['{"x":{"b":1,"b":1}}', true],
    ['{"x":[{"b":1},{"b":1}],"b":2}', false],
    ['{"a":"a","b":"{\\"a\\":1,\\"a\\":1}"}', false],
    ['["a","a"]', false],
    ['{"a":1}{"a":1}', false],
    ['not JSON: }]', false],
    ['', false],
  ])('%s: %s', (json, expected) => {
    expect(repeatsName(json)).toBe(expected);
  });

  it('is false of everything that JavaScript writes', () => {
    fc.assert(fc.property(fc.json(), (json) => void expect(repeatsName(json)).toBe(false)));
  });
});
