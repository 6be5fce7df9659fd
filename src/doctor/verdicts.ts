/** What a node's agent told of its node -> one line a matter, and what to do where something is in the way. Pure. */

export type State = 'ok' | 'warn' | 'fail';

export interface Verdict {
  /** `node n1`, or `cluster`. */
  where: string;
  what: string;
  state: State;
  text: string;
  remedy?: string;
}

type Facts = Record<string, string>;
type Check = (facts: Facts) => Omit<Verdict, 'where'> | undefined;

export function nodeVerdicts(node: string, facts: Facts, failure: string | undefined): Verdict[] {
  const found = CHECKS.flatMap(check => check(facts) ?? []).map(verdict => ({ where: `node ${node}`, ...verdict }));
  if (failure === undefined) return found;
  return [...found, { where: `node ${node}`, what: 'tracing', state: 'fail', text: failure }];
}

const CHECKS: Check[] = [kernel, method, proxyMode, backends, legacyLog, consoles, conntrack, forwarding, tools];

function kernel({ kernel: release }: Facts) {
  return { what: 'kernel', state: 'ok' as const, text: `Linux ${release ?? '?'}` };
}

function method({ method: chosen, flavour, nft }: Facts): Omit<Verdict, 'where'> | undefined {
  if (chosen === 'nft')
    return {
      what: 'method',
      state: 'ok',
      text: `nft: a table of our own, which goes with its process (${nft ?? 'nft'})`,
    };
  if (chosen === 'raw')
    return {
      what: 'method',
      state: 'warn',
      text: `raw: TRACE rules in the ${flavour ?? ''} raw table, as the kernel has no nf_tables`,
      remedy: 'Say --method raw, so that the agent is given the lock those tables are changed under.',
    };
  return undefined;
}

function proxyMode({ proxy_mode: mode }: Facts): Omit<Verdict, 'where'> {
  if (mode !== undefined) return { what: 'kube-proxy', state: 'ok', text: `mode ${mode}` };
  return {
    what: 'kube-proxy',
    state: 'warn',
    text: 'does not answer at 127.0.0.1:10249',
    remedy:
      'It may not run here (another program translates Services, perhaps with eBPF), or keep its metrics elsewhere.',
  };
}

function backends({ legacy_tables: legacy, iptables_legacy, iptables_nft }: Facts): Omit<Verdict, 'where'> {
  const names = (legacy ?? '').trim();
  const text = names === '' ? 'no legacy tables' : `legacy tables: ${names.split(' ').join(', ')}`;
  if (names !== '' && iptables_legacy === undefined)
    return {
      what: 'iptables',
      state: 'warn',
      text: `${text}, but the image has no iptables-legacy: their rules are not read`,
      remedy: 'Use an image that has it: --agent-image; a recipe is in plugin/image.',
    };
  const programs = [iptables_legacy, iptables_nft].filter(one => one !== undefined).map(one => one.trim());
  return { what: 'iptables', state: 'ok', text: `${text}; image has ${programs.join(', ') || 'no iptables'}` };
}

function legacyLog({ log, nf_log: logger, legacy_tables: legacy }: Facts): Omit<Verdict, 'where'> | undefined {
  if ((legacy ?? '').trim() === '' || log === 'none')
    return { what: 'log', state: 'ok', text: 'no legacy tables, so nothing has to be read from a log' };
  if (log === 'nflog')
    return {
      what: 'log',
      state: 'ok',
      text: `legacy lines by a netlink group; the logger, ${logger?.trim() ?? '?'} now, is put back`,
    };
  if (logger?.trim() === 'NONE')
    return {
      what: 'log',
      state: 'fail',
      text: 'legacy lines would go nowhere: net.netfilter.nf_log.2 is NONE',
      remedy: 'Use an image with tcpdump (then a netlink group is used), or: modprobe nf_log_syslog.',
    };
  return { what: 'log', state: 'warn', text: `legacy lines by the kernel log (${logger?.trim() ?? '?'})` };
}

function consoles({ printk, consoles: list, log }: Facts): Omit<Verdict, 'where'> | undefined {
  const level = Number((printk ?? '').trim().split(/\s+/)[0]);
  const serial = /\btty(?:S|AMA)\d*/.exec(list ?? '')?.[0];
  if (serial === undefined || !(level > 4))
    return {
      what: 'console',
      state: 'ok',
      text: `warnings are not printed on a serial console (level ${level || '?'})`,
    };
  const text = `warnings are printed on ${serial}: a traced line in the kernel log would hold up its packet by some 20 ms`;
  return log === 'nflog' || log === 'none'
    ? { what: 'console', state: 'ok', text: `${text}; not used` }
    : { what: 'console', state: 'fail', text, remedy: 'Use an image with tcpdump, or --log-source nflog.' };
}

function conntrack({ conntrack_count: count, conntrack_max: max }: Facts): Omit<Verdict, 'where'> | undefined {
  if (count === undefined || max === undefined) return undefined;
  const share = Number(count) / Number(max);
  const text = `${count.trim()} of ${max.trim()} connections`;
  if (!(share > 0.9)) return { what: 'conntrack', state: 'ok', text };
  return {
    what: 'conntrack',
    state: 'fail',
    text: `${text}: the table is nearly full, and new connections are dropped when it is`,
    remedy: 'Raise net.netfilter.nf_conntrack_max, or find who opens so many.',
  };
}

function forwarding({ ip_forward: forward }: Facts): Omit<Verdict, 'where'> | undefined {
  if (forward === undefined || forward.trim() === '1') return undefined;
  return {
    what: 'forwarding',
    state: 'fail',
    text: 'net.ipv4.ip_forward is 0: this node passes no packet on',
    remedy: 'sysctl -w net.ipv4.ip_forward=1, and find who turned it off.',
  };
}

function tools({ tools: list }: Facts): Omit<Verdict, 'where'> {
  const has = (list ?? '').trim().split(' ');
  const missing = ['tcpdump', 'conntrack'].filter(tool => !has.includes(tool));
  if (missing.length === 0) return { what: 'image', state: 'ok', text: `has ${has.join(', ')}` };
  return {
    what: 'image',
    state: 'warn',
    text: `lacks ${missing.join(' and ')}: less is known of legacy tables and of connections`,
    remedy: 'Use an image that has them: --agent-image; a recipe is in plugin/image.',
  };
}
