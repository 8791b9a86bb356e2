import { build, type BuildOptions } from 'esbuild';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { writeCode } from './code.ts';
import { manual } from './manual.ts';

// Another build may be under way, and somebody may run what the last one made: everything is made beside it, and takes its place at the end.
const made = `dist.${process.pid}`;
process.once('exit', () => rmSync(made, { recursive: true, force: true }));

const common: BuildOptions = {
  entryPoints: { streamgauge: 'src/cli.ts' },
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node22.22',
  format: 'esm',
  // Native parts of the SQL driver, optional to it: compression, and another engine that is not used here.
  external: ['lz4-napi', '@databricks/databricks-sql-kernel-*'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  // CommonJS packages inside an ES module still call these; under other names, because some modules declare their own.
  define: { __filename: '__fileOfBundle', __dirname: '__folderOfBundle' },
  // And what they use that Node deprecates is nothing that whoever runs this can act on; outside node_modules Node would say it on
  // stderr, where scripts read events.
  banner: {
    js: "process.noDeprecation=true;import{createRequire as __createRequire}from'node:module';import{dirname as __pathDirname}from'node:path';import{fileURLToPath as __toPath}from'node:url';const require=__createRequire(import.meta.url);const __fileOfBundle=__toPath(import.meta.url);const __folderOfBundle=__pathDirname(__fileOfBundle);",
  },
  logLevel: 'error',
};

// One file, for npm's bin and for the Databricks workspace.
await build({ ...common, outdir: made });
// Beside the notebooks, with which it goes to the workspace: a folder of its own would be one more to look at for each plan.
cpSync(`${made}/streamgauge.mjs`, `${made}/beside-notebooks`);
renameSync(`${made}/beside-notebooks`, 'notebooks/streamgauge.mjs');
await writeCode(process.cwd());
// The bin answers help and plain mistakes from what is written down here, before that file is loaded.
await build({ ...common, banner: {}, entryPoints: { start: 'src/start.ts' }, outdir: made, external: ['./streamgauge.mjs'], define: { MANUAL: JSON.stringify(await manual()) } });
// Compression of Kafka batches; loaded from this place with the producer, and only then.
cpSync('node_modules/@platformatic/wasm-utils/dist/native.wasm', `${made}/native.wasm`);
cpSync('src/local/runtime', made, { recursive: true, filter: (path) => !path.endsWith('.ts') });
rmSync('dist', { recursive: true, force: true });
renameSync(made, 'dist');
