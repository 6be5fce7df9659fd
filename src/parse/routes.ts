/** What the node says of its way to an address: `ip route get` and `ip neigh` as plugin/node-agent.sh passes them on. */
import { canonicalAddress } from '../ip.ts';
import type { Routes, RouteText } from '../model.ts';

export function parseRoutes(lines: string[]): Routes {
  const routes: Routes = { to: new Map(), ways: new Map(), ports: new Map(), unanswered: new Map() };
  for (const line of lines) readLine(line.trim(), routes);
  return routes;
}

function readLine(line: string, routes: Routes): void {
  const words = line.split(/\s+/);
  if (words[0] === '@') return readWay(words.slice(1), routes);
  const [word = '', ...rest] = words;
  const address = canonicalAddress(word);
  if (address === undefined) return;
  const neighbour = /^dev (\S+) .*\b(?:FAILED|INCOMPLETE)$/.exec(rest.join(' '));
  const port = /^port (\S+) of (\S+)$/.exec(rest.join(' '));
  if (neighbour) routes.unanswered.set(address, neighbour[1] as string);
  else if (port) routes.ports.set(address, { port: port[1] as string, bridge: port[2] as string });
  else if (!routes.to.has(address)) routes.to.set(address, routeOf(rest));
}

/** `IN FROM TO ROUTE`: a packet that came in by an interface. */
function readWay([link = '', from = '', to = '', ...rest]: string[], routes: Routes): void {
  const [src, dst] = [canonicalAddress(from), canonicalAddress(to)];
  if (src === undefined || dst === undefined) return;
  const route = routeOf(rest);
  routes.ways.set(`${link} ${src} ${dst}`, route);
  if (!routes.to.has(dst)) routes.to.set(dst, route);
}

function routeOf(words: string[]): RouteText {
  const after = (name: string) => words[words.indexOf(name) + 1];
  const text = words.slice(canonicalAddress(words[0] ?? '') === undefined ? 0 : 1).join(' ');
  const route: RouteText = { text };
  const error = /^(?:RTNETLINK answers|Error): (.*)$|^(unreachable|prohibit|blackhole)\b/.exec(text);
  if (error) return { ...route, error: (error[1] ?? error[2]) as string };
  const [dev, via] = ['dev', 'via'].map(name => (words.includes(name) ? after(name) : undefined));
  if (dev !== undefined) route.dev = dev;
  if (via !== undefined) route.via = via;
  return route;
}
