/** plugin/node-agent.sh as it stands, whole or a function of it, for tests that run a part of it alone. */
import { readFileSync } from 'node:fs';

const AGENT_SCRIPT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');

/** A function's text: from its name to the brace that closes it at the margin; or a variable's line. */
export function partOfAgent(name: string): string {
  const found = new RegExp(`^(?:${name}\\(\\) \\{[\\s\\S]*?^\\}|${name}=.*)$`, 'm').exec(AGENT_SCRIPT)?.[0];
  if (found === undefined) throw new Error(`the script has no ${name}`);
  return found;
}
