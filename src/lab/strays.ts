/** Labs that are still there: kept ones, found by the name their holder carries. */
import { readdirSync, readFileSync } from 'node:fs';
import { KEEPS, LAB_MARK } from './holder.ts';

export interface Stray {
  pid: number;
  run: string;
}

/**
 * Holders of labs of this machine that nobody ends: the outer process, whose end takes the namespaces with it. One that is not kept
 * goes with the command that made it, which may be at work just now.
 * @param run where one is named, that one alone, kept or not
 */
export function findLabs(run?: string): Stray[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => {
      const words = commandLine(name);
      const mark = words.find(word => word.startsWith(`${LAB_MARK}-`));
      if (mark === undefined || words[0] !== 'unshare') return [];
      const own = mark.slice(LAB_MARK.length + 1);
      const wanted = run === undefined ? words.some(word => word.includes(KEEPS)) : own === run;
      return wanted ? [{ pid: Number(name), run: own }] : [];
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
