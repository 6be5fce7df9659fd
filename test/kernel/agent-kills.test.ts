/**
 * The node agent's container, killed at any one of the commands its script runs, and started again: whatever it had put in by
 * then is out, and the logger is the one of before. What it does is noted before it is done, or this fails.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type AgentOrder, agentEnvironment, type LogSource, type Method } from '../../src/plan/agent.ts';
import { inside, killedAt, makePlace, type Place, startedAgain } from '../support/agent-kill.ts';

const FULL = process.env.KILLS === 'full';
/** In the short suite, every so many commands. */
const STRIDE = FULL ? 1 : 23;

const order = (method: Method, log: LogSource): AgentOrder => ({
  scope: { run: 'abcd1234', podIps: ['192.0.2.2'], ports: [{ protocol: 'tcp', port: 80 }] },
  seconds: 60,
  method,
  log,
  targets: ['192.0.2.9'],
});

const LEGACY = 'iptables-legacy -t nat -N KUBE-SERVICES; iptables-legacy -t raw -A PREROUTING -s 192.0.2.7 -j ACCEPT';
const NFT = 'iptables-nft -t nat -N KUBE-SERVICES';
const STATE = `nft list ruleset; iptables-legacy-save 2>/dev/null; cat /proc/sys/net/netfilter/nf_log/2 /proc/sys/net/netfilter/nf_log/10; ls "$0"`;

interface Row {
  name: string;
  method: Method;
  log: LogSource;
  node: string;
}

const ROWS: Row[] = [
  { name: 'raw rules, legacy', method: 'raw', log: 'nflog', node: LEGACY },
  { name: 'raw rules, nft', method: 'raw', log: 'none', node: NFT },
  { name: 'own table, legacy lines beside it', method: 'nft', log: 'nflog', node: LEGACY },
];

describe.runIf(process.getuid?.() === 0)('killed with its container', () => {
  describe.each(ROWS)('$name', ({ method, log, node }) => {
    let place: Place;
    let before: string;
    // The dates and counters of a listing are no state.
    const state = () =>
      inside(place, STATE.replace('$0', place.folder)).replace(/^#.*\n|\[\d+:\d+\]|^(count|here)\n/gm, '');
    beforeAll(() => {
      place = makePlace(`ip link set lo up; ${node}`);
      before = state();
    });
    afterAll(() => place.remove());
    afterEach(() => expect(state()).toBe(before));

    it('leaves nothing once it has started again, at whatever command it was', { timeout: 600_000 }, async () => {
      const met: string[] = [];
      for (let at = 1; ; at += STRIDE) {
        const command = await killedAt(place, at, agentEnvironment(order(method, log)));
        if (command === undefined) break;
        met.push(command);
        await startedAgain(place);
        expect(`at command ${at}, ${command}: ${state()}`).toBe(`at command ${at}, ${command}: ${before}`);
      }
      expect(met.length * STRIDE).toBeGreaterThan(60);
    });
  });
});
