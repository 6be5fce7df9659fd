/**
 * The agent has exactly the capabilities it needs: with them each way of tracing works, and without any one of them something
 * fails that is named here. A container's root is a root with such a bounding set.
 */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LAB_CERTIFICATE, LAB_KEY } from '../../src/lab/certificate.ts';
import { type Holder, startHolder } from '../../src/lab/holder.ts';
import { type Mode, SCENARIOS, type Scenario, senderOf } from '../../src/lab/scenarios.ts';
import { SERVER } from '../../src/lab/server.ts';
import { buildScript } from '../../src/lab/topology.ts';
import { setEnvironment } from '../../src/live/process.ts';
import { agentEnvironment, LOG_SOURCES, type LogSource } from '../../src/plan/agent.ts';
import { agentCapabilities } from '../../src/plan/pods.ts';

setEnvironment(process.env);

const AGENT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');
const HEALTHY = SCENARIOS.find(one => one.name === 'healthy') as Scenario;
const SENDER = senderOf(HEALTHY);
const RUN = 'caps1234';

let holder: Holder;
beforeEach(async () => {
  holder = await startHolder(RUN, true, false);
});
afterEach(() => holder.stop());

async function build(mode: Mode): Promise<void> {
  const env = { TS_NODE: process.execPath, TS_SERVER: SERVER, TS_KEY: LAB_KEY, TS_CERT: LAB_CERTIFICATE };
  const built = await holder.shell().run(['sh', '-c', buildScript(HEALTHY, mode) + HOST], { env, timeoutMs: 60_000 });
  expect([built.code, built.code === 0 ? '' : built.stderr]).toEqual([0, '']);
}

/** A node's files under /run/host: a log that belongs to syslog's user, and a journal that prints one line and follows. */
const HOST = `
mkdir -p /run/host && mount --rbind / /run/host
mount -t tmpfs tmpfs /run/host/var/log && mount -t tmpfs -o exec tmpfs /run/host/usr/local/sbin
echo old >/run/host/var/log/kern.log && chown 104:4 /run/host/var/log/kern.log && chmod 600 /run/host/var/log/kern.log
printf '#!/bin/sh\\necho line\\ncase "$*" in *-f*) exec sleep 20 ;; esac\\n' >/run/host/usr/local/sbin/journalctl
chmod +x /run/host/usr/local/sbin/journalctl
`;

interface Way {
  mode: Mode;
  method: 'nft' | 'raw';
  log: LogSource;
}

/** What the agent said, under these capabilities, with one question asked while it traced. */
async function agentSays({ mode, method, log }: Way, capabilities: string[]): Promise<string[]> {
  const said: string[] = [];
  let settle = () => {};
  const settled = new Promise<void>(resolve => {
    settle = resolve;
  });
  const set = capabilities.map(name => `+${name.toLowerCase()}`).join();
  const order = {
    scope: { run: RUN, podIps: [SENDER.address], ports: [{ protocol: 'tcp' as const, port: 80 }] },
    seconds: 60,
    method,
    log: mode === 'nft' || mode === 'nftables' ? ('none' as const) : log,
    targets: ['10.96.100.1'],
  };
  const agent = holder.shell('n1').start(
    ['setpriv', `--bounding-set=-all,${set}`, '--inh-caps=-all', 'sh', '-c', AGENT],
    line => {
      said.push(line);
      if (line === '@ready') settle();
    },
    { env: { ...agentEnvironment(order), TS_HOST: '/run/host' } },
  );
  await Promise.race([settled, agent.done]);
  await holder.shell(SENDER.name).run(['curl', '-s', '-m', '3', 'http://10.96.100.1/'], { timeoutMs: 6000 });
  agent.write('done\n');
  await agent.done;
  return said;
}

/** What has to be among the agent's words for a way to work; undefined where it is. */
function missing(said: string[], { mode, method, log }: Way): string | undefined {
  const failed = said.find(line => /^@(fail|left)/.test(line));
  if (failed) return failed;
  if (!said.includes('@finished')) return 'it did not finish';
  const legacy = mode === 'legacy' || mode === 'mixed';
  if (legacy && !said.includes(' :KUBE-SERVICES - [0:0]')) return 'no rules of the legacy tables';
  if (!legacy && !said.some(line => /^ \tchain (KUBE-SERVICES|services) /.test(line))) return 'no rules of nft';
  if (!said.some(line => /^ (ipv4 +2 +)?tcp +6 /.test(line))) return 'no conntrack entries';
  if (method === 'nft' && !said.some(line => line.startsWith('@n trace id'))) return 'no lines of nft';
  // The kernel writes a namespace's lines to no log but its own netlink group.
  return legacy && log === 'nflog' && !said.some(line => line.startsWith('@p ')) ? 'no lines of NFLOG' : undefined;
}

interface Row extends Way {
  /** Which capability, and what fails without it. */
  without: Record<string, RegExp>;
}

const NO_RAW_SOCKET = /^no rules of the legacy tables/;
const ROWS: Row[] = [
  { mode: 'nft', method: 'nft', log: 'none', without: { NET_ADMIN: /^@fail .*Operation not permitted/ } },
  { mode: 'nftables', method: 'nft', log: 'none', without: { NET_ADMIN: /^@fail .*Operation not permitted/ } },
  {
    mode: 'mixed',
    method: 'nft',
    log: 'nflog',
    without: { NET_ADMIN: /^@fail .*not permitted/, NET_RAW: NO_RAW_SOCKET, SETGID: /^@fail tcpdump: .*change to/ },
  },
  {
    mode: 'legacy',
    method: 'raw',
    log: 'nflog',
    without: {
      NET_ADMIN: /^@fail tcpdump: .*not permitted/,
      NET_RAW: NO_RAW_SOCKET,
      SETGID: /^@fail tcpdump: .*change to/,
    },
  },
  {
    mode: 'legacy',
    method: 'raw',
    log: 'kmsg',
    without: { NET_ADMIN: /^@fail iptables-legacy/, NET_RAW: NO_RAW_SOCKET, SYSLOG: /^@fail .*cannot be read/ },
  },
  {
    mode: 'legacy',
    method: 'raw',
    log: 'journald',
    without: {
      NET_ADMIN: /^@fail iptables-legacy/,
      NET_RAW: NO_RAW_SOCKET,
      SYS_CHROOT: /^@fail .*journal.*chroot: .*not permitted/,
    },
  },
  {
    mode: 'legacy',
    method: 'raw',
    log: 'file',
    without: {
      NET_ADMIN: /^@fail iptables-legacy/,
      NET_RAW: NO_RAW_SOCKET,
      DAC_READ_SEARCH: /^@fail \/var\/log\/kern.log cannot be read/,
    },
  },
];

describe.runIf(process.getuid?.() === 0).each(ROWS)('$mode, --method $method, --log-source $log', row => {
  it('works with what it is given, and each of it is needed', { timeout: 240_000 }, async () => {
    await build(row.mode);
    const given = agentCapabilities(row.log);
    expect(missing(await agentSays(row, given), row)).toBeUndefined();
    for (const [name, fails] of Object.entries(row.without)) {
      expect(given).toContain(name);
      const rest = given.filter(one => one !== name);
      expect([name, missing(await agentSays(row, rest), row)]).toEqual([name, expect.stringMatching(fails)]);
    }
  });
});

it('every capability of every log source is in the table', () => {
  for (const log of LOG_SOURCES.filter(one => one !== 'auto')) {
    const tried = ROWS.filter(row => row.log === log).flatMap(row => Object.keys(row.without));
    expect([log, [...new Set(tried)].sort()]).toEqual([log, [...agentCapabilities(log)].sort()]);
  }
  // Which of the two it will be, the node decides.
  expect(new Set(agentCapabilities('auto'))).toEqual(
    new Set([...agentCapabilities('nflog'), ...agentCapabilities('kmsg')]),
  );
});
