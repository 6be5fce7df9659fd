/** Labs that are still there: kept ones, found by the name their holder carries. */
import { readdirSync, readFileSync } from 'node:fs';
import { LAB_MARK } from './holder.ts';

export interface Stray {
  pid: number;
  run: string;
}

/** Holders of labs of this machine: the outer process, whose end takes the namespaces with it. */
export function findLabs(): Stray[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => {
      const words = commandLine(name);
      const mark = words.find(word => word.startsWith(`${LAB_MARK}-`));
      return mark !== undefined && words[0] === 'unshare'
        ? [{ pid: Number(name), run: mark.slice(LAB_MARK.length + 1) }]
        : [];
    });
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    // It ended between the listing and the look, or is not ours to see.
    return [];
  }
}
