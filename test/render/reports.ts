/** Reports of which there is no capture. */
import type { Report, Tuple } from '../../src/model.ts';
import { explained } from '../reconstruct/captures.ts';

/** A real report whose addresses are those of IPv6. */
export function ipv6Report(): Report {
  const report = JSON.parse(JSON.stringify(explained('legacy', ['web-curl', 'web-ping']))) as Report;
  const six = (address: string) => `fd00::${address.split('.').map(Number).join(':')}`;
  const tuple = (one: Tuple) => Object.assign(one, { src: six(one.src), dst: six(one.dst) });
  for (const journey of report.journeys) {
    Object.assign(journey.packet, { family: 'ip6', src: six(journey.packet.src), dst: six(journey.packet.dst) });
    for (const hop of journey.hops) {
      hop.family = 'ip6';
      tuple(hop.tuple);
    }
    for (const rewrite of journey.rewrites)
      for (const end of ['from', 'to'] as const)
        rewrite[end] = (rewrite[end] ?? '').replace(/^([\d.]+)(?::(\d+))?$/, (_, address, port) =>
          port === undefined ? six(address) : `[${six(address)}]:${port}`,
        );
  }
  return report;
}
