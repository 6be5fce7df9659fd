/** The words that name a Service and its port -> both; what is no Service is told from what is one, mistyped. Pure. */
import { canonicalAddress } from './ip.ts';
import { quote, usage } from './request.ts';

export interface TargetRequest {
  service: string;
  /** The Service's own namespace, where it is not the one of the context. */
  namespace?: string;
  port?: string;
}

const WORKLOADS =
  /^(deploy|deployments?|sts|statefulsets?|ds|daemonsets?|rs|replicasets?|ing|ingress(es)?|ep|endpoints|jobs?|nodes?|no)$/i;

/** A Service is found by `svc/NAME[:PORT]`, `NAME[:PORT]` or `NAME PORT`; without any, it is the API server's own. */
export function parseTarget(words: string[]): TargetRequest {
  if (words.length > 2)
    throw usage(
      `${words.length} words are too many: ${words.map(quote).join(' ')}`,
      'Name one Service and one port: svc/NAME:PORT',
    );
  const [word, second] = words;
  if (word === undefined) return { service: 'kubernetes', namespace: 'default' };
  if (word.includes('://'))
    throw usage(`${quote(word)} is an address, not a Service`, 'Name it svc/NAME:PORT; what to ask for is --path.');
  const [, kind, rest = ''] = /^(?:([^/:]*)\/)?(.*)$/s.exec(word) ?? [];
  if (kind === undefined) refuseMistyped(word);
  if (kind !== undefined && !['svc', 'service', 'services'].includes(kind.toLowerCase()))
    throw usage(
      `${quote(word)} is no Service`,
      ['pod', 'pods', 'po'].includes(kind)
        ? 'A run asks a Service; to send from a pod: --from pod/NAME'
        : WORKLOADS.test(kind)
          ? 'A run asks a Service; kubectl get services tells which one stands before it.'
          : `Name it svc/NAME; its namespace is -n's: svc/${rest.split(':')[0] || 'NAME'} -n ${kind || 'NAMESPACE'}`,
    );
  const [, name = '', port] = /^([^:]*)(?::(.*))?$/s.exec(rest) ?? [];
  if (port !== undefined && second !== undefined)
    throw usage(`two ports: ${quote(port)} and ${quote(second)}`, 'Name one.');
  if (canonicalAddress(rest) !== undefined)
    throw usage(`${quote(rest)} is an address, not a Service`, 'kubectl get services -A -o wide tells whose it is.');
  const asked = port ?? second;
  return asked === undefined ? { service: serviceName(name) } : { service: serviceName(name), port: portWord(asked) };
}

/** A word that is nearly a command is taken for that; a Service of that name is svc/NAME. */
function refuseMistyped(word: string): void {
  const meant = ['explain', 'doctor', 'cleanup', 'completion'].find(command => distance(word, command) <= 2);
  if (meant !== undefined)
    throw usage(
      `unknown command '${word.slice(0, 20)}' (did you mean ${meant}?)`,
      `A Service of that name is svc/${word.slice(0, 20)}.`,
    );
}

/** How many letters have to be put in, taken out or replaced (Levenshtein). */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries())
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    row = next;
  }
  return row.at(-1) ?? 0;
}

function serviceName(name: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return name;
  throw usage(
    name === '' ? 'the Service has no name' : `${quote(name)} cannot be the name of a Service`,
    'Names are lower-case letters, digits and dashes: svc/my-service',
  );
}

function portWord(word: string): string {
  const [, port = '', protocol] = /^(.*?)(\/.*)?$/s.exec(word) ?? [];
  if (protocol !== undefined && !/^\/(tcp|udp)$/i.test(protocol))
    throw usage(`${quote(word)}: only TCP and UDP can be probed`, 'For example 53/udp.');
  const number = Number(port);
  if (/^\d+$/.test(port) && number >= 1 && number <= 65_535) return word;
  if (/^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/.test(port)) return word;
  throw usage(
    `${quote(port)} is neither a port number (1 to 65535) nor the name of a port`,
    'For example svc/web:80 or svc/web:http',
  );
}
