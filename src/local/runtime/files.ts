import { join } from 'node:path';

/** Absolute path of a file of this folder; the build puts them beside the one bundled file, where this still finds them. */
export function runtimeFile(name: string): string {
  return join(import.meta.dirname, name);
}
