// Azure's Blob storage on 127.0.0.1 (Azurite's): `node abfss_server.mjs FOLDER-WITH-NODE_MODULES OPTIONS`. Ends with its standard input.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [folder] = process.argv.splice(2, 1);
const require = createRequire(join(folder, 'package.json'));
const { prototype } = require('azurite/dist/src/blob/handlers/ContainerHandler.js').default;
const listed = prototype.listBlobHierarchySegment;

/** Azure lists blobs and folders together by name, and Hadoop's client knows by that order that the blob `a` and the folder `a/` are one; Azurite lists the ones after the others. */
prototype.listBlobHierarchySegment = async function (...args) {
  const response = await listed.apply(this, args);
  const blobs = new Set(response.segment.blobItems.map(({ name }) => `${name}/`));
  response.segment.blobPrefixes = response.segment.blobPrefixes.filter(({ name }) => !blobs.has(name));
  return response;
};

process.stdin.resume().on('end', () => process.exit());
require('azurite/dist/src/blob/main.js');
