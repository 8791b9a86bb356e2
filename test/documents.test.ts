import { expect, it } from 'vitest';
import { VERBS } from '../src/cli.ts';
import { DOCUMENTS } from './documents.ts';

it('promises scripts a document for every verb, but for those that run until they are ended', () => {
  expect(Object.keys(DOCUMENTS).sort()).toEqual(Object.keys(VERBS).filter((verb) => !['local', 'demo'].includes(verb)).sort());
});
