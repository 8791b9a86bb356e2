import { build } from 'esbuild';
import { cpSync, rmSync } from 'node:fs';

// One file for npm's bin and for the Databricks workspace, and beside it what the local platform runs in other processes.
rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints: ['src/cli.ts'],
  outfile: 'dist/streamgauge.mjs',
  bundle: true,
  platform: 'node',
  target: 'node22.22',
  format: 'esm',
  // Native parts of the SQL driver, optional to it: compression, and another engine that is not used here.
  external: ['lz4-napi', '@databricks/databricks-sql-kernel-*'],
  minifySyntax: true,
  legalComments: 'none',
  // CommonJS packages inside an ES module still call these.
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';import{dirname as __pathDirname}from'node:path';import{fileURLToPath as __toPath}from'node:url';const require=__createRequire(import.meta.url);const __filename=__toPath(import.meta.url);const __dirname=__pathDirname(__filename);",
  },
  logLevel: 'error',
});
// Compression of Kafka batches; loaded from this place with the producer, and only then.
cpSync('node_modules/@platformatic/wasm-utils/dist/native.wasm', 'dist/native.wasm');
cpSync('src/local/runtime', 'dist', { recursive: true, filter: (path) => !path.endsWith('.ts') });
