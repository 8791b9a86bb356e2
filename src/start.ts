#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { quickAnswer, type Manual } from './quick.ts';

/** Written in by the build: help must not cost what the verbs need. */
declare const MANUAL: Manual;

const answer = quickAnswer(process.argv.slice(2), MANUAL);
if (answer === undefined) {
  // What was compiled once is not compiled again: https://nodejs.org/api/module.html#module-compile-cache
  enableCompileCache();
  const program = './streamgauge.mjs';
  const { start } = (await import(program)) as { start(): Promise<void> };
  await start();
} else {
  for (const stream of ['stderr', 'stdout'] as const) if (answer[stream] !== undefined) process[stream].write(`${answer[stream]}\n`);
  process.exitCode = answer.code;
}
