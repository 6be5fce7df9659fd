/** What a run is called, in its pods, its tables and its rules' comments. */
import { randomBytes } from 'node:crypto';

/** Lower-case letters and digits: fit for a table's name, a label and a comment. */
export function newRunId(): string {
  return randomBytes(4).toString('hex');
}
