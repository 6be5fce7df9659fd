/**
 * What a node looks like before, during and after a trace, and whether kube-proxy and the kubelet go on with their work
 * meanwhile: runs follow each other while Services and endpoints come and go.
 */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPlugin } from '../support/live.ts';
import {
  applyObjects,
  fingerprint,
  inNode,
  inPod,
  kubeconfig,
  kubectl,
  MODES,
  NAMESPACE,
  OURS,
  poll,
  STATE,
  setMode,
  waitReady,
} from './cluster.ts';

const METHODS = ['nft', 'raw'] as const;
const LOGS = ['nflog', 'kmsg'] as const;

const trace = (...words: string[]) => runPlugin(['-n', NAMESPACE, 'web', '--node', 'n1', ...words], kubeconfig());

beforeAll(async () => {
  if (OURS) await applyObjects();
});

describe.runIf(OURS).each(MODES)('in mode %s', mode => {
  beforeAll(async () => {
    await setMode(mode);
    await waitReady();
    // The kernel keeps the raw table that method raw asks for; from now on it is there.
    await trace('--method', 'raw');
  });

  describe.each(METHODS.flatMap(method => LOGS.map(log => [method, log] as const)))('method %s, %s', (method, log) => {
    it('differs while tracing by what is ours alone, and afterwards by nothing', async () => {
      const before = await fingerprint('n1');
      let during: Record<string, string> = {};
      const act = async () => {
        during = await fingerprint('n1');
      };
      const words = ['-n', NAMESPACE, 'web', '--node', 'n1', '--count', '15', '--method', method, '--log-source', log];
      const ended = await runPlugin(words, kubeconfig(), { at: 'tracing$', act });
      expect(`${ended.code} ${ended.stderr}`).toMatch(/^[06] /);
      expect(JSON.stringify(during)).toMatch(/trace.svc[:_][0-9a-f]{8}/);
      expect(withoutOurs(during)).toEqual(withoutOurs(before));
      expect(await fingerprint('n1')).toEqual(before);
    });
  });

  it('kube-proxy and the kubelet go on, and say of no error', async () => {
    const logs = [`${STATE}/log/n1-kube-proxy`, `${STATE}/log/n1-kubelet`];
    const sizes = logs.map(log => statSync(log).size);
    const synced = await lastSync();
    const before = await fingerprint('n1');
    let traced = 0;
    const busy = { churns: true };
    const churning = churn(busy);
    try {
      for (const method of METHODS)
        for (let i = 0; i < 2; i++) {
          const { code, stderr } = await trace('--method', method, '--count', '5');
          expect(`${code} ${stderr}`).toMatch(/^[06] /);
          traced++;
        }
    } finally {
      busy.churns = false;
    }
    const made = await churning;
    expect(traced).toBe(4);
    expect(made).toBeGreaterThan(3);
    expect(await lastSync()).toBeGreaterThan(synced);
    const said = logs.flatMap((log, i) => errorsIn(readFileSync(log, 'utf8').slice(sizes[i])));
    expect(said.filter(isOfNetfilter)).toEqual([]);
    expect(notOfProxy(await fingerprint('n1'))).toEqual(notOfProxy(before));
  });
});

describe.runIf(OURS)('a Service that is made while a trace goes on', () => {
  afterAll(() => kubectl('-n', NAMESPACE, 'delete', 'service', 'newborn', '--ignore-not-found'));

  it.each(METHODS)('works at once, with method %s', async method => {
    let answer = '';
    const act = async () => {
      await kubectl('-n', NAMESPACE, 'delete', 'service', 'newborn', '--ignore-not-found');
      await kubectl(
        '-n',
        NAMESPACE,
        'expose',
        'deployment',
        'web',
        '--name=newborn',
        '--port=80',
        '--target-port=8080',
      );
      const ip = await kubectl('-n', NAMESPACE, 'get', 'service', 'newborn', '-o', 'jsonpath={.spec.clusterIP}');
      answer = await poll('an answer', () => inPod('client-n1', 'curl', '-sf', '-m', '1', `http://${ip}/hostname`), 5);
    };
    const words = ['-n', NAMESPACE, 'web', '--node', 'n1', '--count', '40', '--method', method];
    const ended = await runPlugin(words, kubeconfig(), { at: 'tracing$', act });
    expect(answer).toMatch(/^web-/);
    expect(`${ended.code} ${ended.stderr}`).toMatch(/^[06] /);
  });
});

/** Endpoints that came later have other addresses: of kube-proxy's own chains only that they are there. */
function notOfProxy({ legacy = '', iptables = '', nft = '', settings = '' }: Record<string, string>): object {
  const others = (save: string) => save.replace(/^.*KUBE-.*\n/gm, '');
  const chains = nft.match(/^table .*|^\tchain (?!KUBE-|(?:service|endpoint|external|firewall)-[A-Z2-7]).*/gm);
  return { legacy: others(legacy), iptables: others(iptables), chains, ours: nft.match(/trace.svc/g), settings };
}

/** Our table, our rules and the logger that we set; and who else came to be logged to meanwhile. */
function withoutOurs(all: Record<string, string>): Record<string, string> {
  const { legacy = '', iptables = '', nft = '', settings = '' } = all;
  const rules = (text: string) =>
    text
      .replace(/^-A .*trace-svc:.*\n/gm, '')
      .replace(/^\*raw\n:PREROUTING ACCEPT \n:OUTPUT ACCEPT \n(:trace-svc-\w+ - \n)*COMMIT\n/gm, '');
  return {
    legacy: rules(legacy),
    iptables: rules(iptables),
    nft: nft
      .replace(/^table ip6? trace_svc_\w+ \{[^\n]*\n[\s\S]*?^\}\n/gm, '')
      .replace(/^table ip6? raw \{\n[\s\S]*?^\}\n/gm, table => (table.includes('trace-svc-made') ? '' : table))
      .replace(/^.*trace-svc:.*\n/gm, ''),
    settings: settings.replace(/^.*\/nf_log\/(2|10):.*\n|^ *(2|10) (NONE|nf\w+) \(.*\n|^ *\d+ +\d+ +\d+ \d .*\n/gm, ''),
  };
}

async function lastSync(): Promise<number> {
  const metrics = await inNode('n1', ['curl', '-s', 'http://127.0.0.1:10249/metrics']);
  const times = [...metrics.matchAll(/^kubeproxy_sync_proxy_rules_last_timestamp_seconds.* (\S+)$/gm)];
  return Math.max(...times.map(([, time]) => Number(time)));
}

function errorsIn(log: string): string[] {
  return log.split('\n').filter(line => /^[EF]\d{4} /.test(line));
}

/** The kubelet has errors of its own about pods that are deleted while they start. */
function isOfNetfilter(line: string): boolean {
  return /iptables|nft|netfilter|sync|chain|rules/i.test(line) && !/pod_workers|Error syncing pod/.test(line);
}

/** Services come and go, endpoints too. @returns how often */
async function churn(busy: { churns: boolean }): Promise<number> {
  let made = 0;
  while (busy.churns) {
    const name = `churn-${made % 5}`;
    await kubectl('-n', NAMESPACE, 'expose', 'deployment', 'web', `--name=${name}`, '--port=80', '--target-port=8080');
    await kubectl('-n', NAMESPACE, 'scale', 'deployment', 'one-n2', `--replicas=${(made % 2) + 1}`);
    await kubectl('-n', NAMESPACE, 'delete', 'service', name);
    made++;
  }
  await kubectl('-n', NAMESPACE, 'scale', 'deployment', 'one-n2', '--replicas=1');
  await waitReady();
  return made;
}
