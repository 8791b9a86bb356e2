#!/usr/bin/env node
import * as modules from 'node:module';
import { quickAnswer, type Manual } from './quick.ts';

/** Written in by the build: help must not cost what the verbs need. */
declare const MANUAL: Manual;

const answer = quickAnswer(process.argv.slice(2), MANUAL);
if (answer === undefined && Number.parseFloat(process.versions.node) < 22) {
  process.stderr.write(`error: streamgauge needs Node.js 22.22 or newer; this is ${process.versions.node}\nhint: In its checkout \`npx streamgauge\` brings the right one.\n`);
  process.exitCode = 2;
} else if (answer === undefined) {
  // What was compiled once is not compiled again: https://nodejs.org/api/module.html#module-compile-cache
  modules.enableCompileCache();
  const program = './streamgauge.mjs';
  const { start } = (await import(program)) as { start(): Promise<void> };
  await start();
} else {
  for (const stream of ['stderr', 'stdout'] as const) if (answer[stream] !== undefined) process[stream].write(`${answer[stream]}\n`);
  process.exitCode = answer.code;
}
