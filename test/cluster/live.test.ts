/**
 * Live runs on a real Kubernetes, in every mode of kube-proxy: what the trace says is what happened (the pod that answered, the
 * tuples conntrack has, what ping saw), and both nodes are afterwards as they were before.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FindingKind } from '../../src/model.ts';
import { parseConntrack } from '../../src/parse/conntrack.ts';
import { type Ended, type Interruption, type LiveRun, runCleanup, runLive, runPlugin } from '../support/live.ts';
import { schemaErrors } from '../support/schema.ts';
import {
  applyObjects,
  fingerprint,
  kubeconfig,
  kubectl,
  MODES,
  NAMESPACE,
  NODES_CAN_BE_SEEN,
  nodes,
  OURS,
  setMode,
  waitReady,
} from './cluster.ts';

interface Row {
  name: string;
  args: (place: Place) => string[];
  /** Findings but for lessons; the first one is the answer. */
  answer: FindingKind;
  /** In nftables mode, where it differs. */
  ping?: FindingKind;
  code: number;
  also?: FindingKind[];
}

interface Place {
  n1: string;
  n2: string;
  podOnN1: string;
}

const n1 = ({ n1: node }: Place) => ['--node', node];

const ROWS: Row[] = [
  { name: 'three endpoints', args: p => ['svc/web', ...n1(p)], answer: 'ServiceAnswered', code: 0 },
  {
    name: 'three endpoints, IPv6',
    args: p => ['web:http', '--ip-family', 'IPv6', ...n1(p)],
    answer: 'ServiceAnswered',
    code: 0,
  },
  {
    name: 'an endpoint on the same node',
    args: p => ['web-one-node-n1', '80', ...n1(p)],
    answer: 'ServiceAnswered',
    code: 0,
  },
  { name: 'an endpoint on the other node', args: p => ['web-one-node', ...n1(p)], answer: 'ServiceAnswered', code: 0 },
  {
    name: 'hairpin: a pod asks the Service it is the endpoint of',
    args: p => ['web-one-node-n1', '--from', `pod/${p.podOnN1}`],
    answer: 'ServiceAnswered',
    code: 0,
    also: ['Hairpin'],
  },
  { name: 'no endpoints', args: p => ['noep', ...n1(p)], answer: 'NoEndpoints', code: 3 },
  { name: 'no endpoints, IPv6', args: p => ['noep', '--ip-family', '6', ...n1(p)], answer: 'NoEndpoints', code: 3 },
  { name: 'neither selector nor endpoints', args: p => ['noselector', ...n1(p)], answer: 'NoEndpoints', code: 3 },
  { name: 'a wrong target port', args: p => ['wrongport', ...n1(p)], answer: 'EndpointRefused', code: 3 },
  {
    name: 'a port that is not exposed',
    args: p => ['web:81', '--timeout', '1', ...n1(p)],
    answer: 'PortNotExposed',
    code: 3,
  },
  {
    name: 'session affinity',
    args: p => ['sticky', '--count', '3', ...n1(p)],
    answer: 'ServiceAnswered',
    code: 0,
    also: ['SessionAffinity'],
  },
  {
    name: 'a node port',
    args: p => ['np', '--via', 'node-port', ...n1(p)],
    answer: 'ServiceAnswered',
    ping: 'PingAnsweredByNode',
    code: 0,
    also: ['Masqueraded'],
  },
  { name: 'UDP', args: p => ['udp', ...n1(p)], answer: 'ServiceAnswered', code: 0 },
  { name: "the API server's own Service", args: p => ['-n', 'default', ...n1(p)], answer: 'ServiceAnswered', code: 0 },
  {
    name: 'a Local policy without a local endpoint',
    args: p => ['local', '--timeout', '1', ...n1(p)],
    answer: 'NoLocalEndpoints',
    code: 3,
  },
  {
    name: 'a Local policy with a local endpoint',
    args: p => ['local', '--node', p.n2],
    answer: 'ServiceAnswered',
    code: 0,
  },
  {
    name: 'an endpoint nobody has',
    args: p => ['manual', '--timeout', '1', ...n1(p)],
    answer: 'EndpointSilent',
    code: 3,
  },
  { name: 'another node', args: p => ['web', '--node', p.n2], answer: 'ServiceAnswered', code: 0 },
];

let place: Place;

beforeAll(async () => {
  await applyObjects();
  const names = await nodes();
  const pod = await kubectl(
    '-n',
    NAMESPACE,
    'get',
    'pods',
    '-l',
    'app=one,at=n1',
    '-o',
    'jsonpath={.items[0].metadata.name}',
  );
  place = { ...names, podOnN1: pod };
});

const trace = (args: string[]) => runLive(['-n', NAMESPACE, '--path', '/hostname', ...args], kubeconfig());

const modes = OURS ? MODES : (['as it is'] as const);

describe.each(modes)('in mode %s', mode => {
  let before: unknown;
  beforeAll(async () => {
    if (mode !== 'as it is') await setMode(mode);
    await waitReady();
    before = await fingerprints();
  });
  afterAll(async () => {
    expect(await ourPods()).toEqual([]);
    expect(await fingerprints()).toEqual(before);
  });

  describe.each(ROWS)('$name', row => {
    let run: LiveRun;
    beforeAll(async () => {
      run = await trace(row.args(place));
    });

    it('is answered by what is true', () => {
      const [first] = run.report.findings;
      expect(`${first?.kind}: ${first?.sentence}`).toMatch(new RegExp(`^${row.answer}:`));
      expect(run.code).toBe(row.code);
      expect(run.report.findings.map(finding => finding.kind)).toEqual(expect.arrayContaining(row.also ?? []));
    });
    it('warns of nothing where all is well', () => {
      if (row.code === 0) expect(run.report.findings.filter(finding => finding.severity !== 'info')).toEqual([]);
    });
    it('is complete', () => {
      expect(run.report.completeness).toMatchObject({ complete: true, lost: 0, gaps: 0, checkedAgainst: 'rules' });
    });
    it('names the endpoint whose name came back', () => expect(tracedEndpoints(run)).toEqual(bodies(run)));
    it('rewrites as conntrack says', () => {
      for (const { packet, dnat } of translations(run)) {
        const entry = conntrackOf(run, packet.sport);
        if (entry) expect(`${entry.reply.src}:${entry.reply.sport}`).toBe(dnat.replace(/[[\]]/g, ''));
      }
    });
    it('says of ping what ping saw', () => {
      const outcome = run.report.probes.find(probe => probe.kind === 'ping')?.outcome;
      const wanted = row.ping ?? (isRejecting(run) ? 'PingRejected' : 'PingNotTranslated');
      expect(run.report.findings.map(finding => finding.kind)).toContain(wanted);
      // What became of a ping nobody translates is up to the next router: silence, or an error.
      const expected = {
        PingAnsweredByNode: /answered/,
        PingRejected: /unreachable/,
        PingNotTranslated: /timeout|unreachable/,
      };
      expect(outcome).toMatch(expected[wanted as keyof typeof expected]);
    });
    it('has a receipt, and keeps to the schema', () => {
      expect(run.report.cleanup).toMatchObject({ complete: true });
      expect(schemaErrors(run.report)).toEqual([]);
    });
  });

  it('traces with raw rules as well, and takes them out again', async () => {
    const run = await trace(['web', '--method', 'raw', ...n1(place)]);
    expect(run.report.node.method).toBe('raw');
    expect(run.report.findings.map(finding => finding.kind)).toContain('ServiceAnswered');
    expect(tracedEndpoints(run)).toEqual(bodies(run));
    expect(run.report.completeness).toMatchObject({ complete: true, lost: 0, gaps: 0 });
    expect(run.report.cleanup).toMatchObject({ complete: true });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s in the middle leaves nothing', async (signal, code) => {
    const ended = await runPlugin(['-n', NAMESPACE, 'web', ...n1(place)], kubeconfig(), { at: 'tracing$', signal });
    expect(ended.code).toBe(code);
    expect(await ourPods()).toEqual([]);
  });
});

describe('what is no Service to trace', () => {
  it.each([
    ['headless', 4, /is headless: it has no cluster IP/],
    ['externalname', 4, /ExternalName: DNS answers with the alias example\.invalid/],
    ['nobody', 2, /there is no Service nobody in namespace shop/],
    ['web:https', 2, /has no port named "https"/],
    ['web -n nowhere', 2, /there is no namespace nowhere/],
    ['web --node n3', 2, /there is no node n3/],
    ['web --from pod/nobody', 2, /there is no pod nobody in namespace shop/],
    ['np --via load-balancer', 2, /has no load balancer address/],
    ['web --via node-port', 2, /has no node port/],
    ['web --context nobody', 2, /context "nobody" does not exist/],
    ['web --image registry.local/not/there:1 --image-pull-policy Never', 1, /does not start: ErrImageNeverPull/],
    // Whether the pull has failed already, is under way, or is given up, the image is named.
    [
      'web --image registry.local/not/there:1 --start-timeout 3',
      1,
      /(did not start within 3 s|does not start): .*registry\.local\/not\/there:1/,
    ],
    ['web --agent-namespace nowhere', 2, /there is no namespace nowhere/],
    ['web --as nobody', 4, /you may not get services in namespace shop, nor list endpointslices in namespace shop/],
  ])('%s', async (words, code, message) => {
    const ended = await runPlugin(['-n', NAMESPACE, ...words.split(' ')], kubeconfig());
    expect(ended.stderr).toMatch(message);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toBe('');
    expect(await ourPods()).toEqual([]);
  });
});

describe('a dry run', () => {
  it('prints pods the API server would take, and makes none', async () => {
    const ended = await runPlugin(['-n', NAMESPACE, 'web', '--dry-run', ...n1(place)], kubeconfig());
    expect(ended.code).toBe(0);
    expect(ended.stdout.match(/^kind: Pod$/gm)).toHaveLength(2);
    expect(await ourPods()).toEqual([]);
  });
});

describe('doctor and cleanup', () => {
  it('doctor finds everything in order on every node', async () => {
    const ended = await runPlugin(['doctor', '--all-nodes', '-n', NAMESPACE, '-o', 'json'], kubeconfig());
    const { verdicts } = JSON.parse(ended.stdout);
    expect(verdicts.filter((verdict: { state: string }) => verdict.state === 'fail')).toEqual([]);
    expect(ended.code).toBe(0);
    expect(await ourPods()).toEqual([]);
  });

  it.each([
    ['', /nothing of ours is left on \S+, \S+\n$/],
    ['--run deadbeef', /nothing of run deadbeef is left on \S+, \S+\n$/],
  ])('cleanup %s finds nothing, and leaves nothing of its own', async (words, said) => {
    const ended = await runCleanup(words === '' ? [] : words.split(' '), kubeconfig());
    expect(ended.stdout).toMatch(said);
    expect(ended.code).toBe(0);
    expect(await ourPods()).toEqual([]);
  });
});

/** kube-proxy's nftables mode rejects what is no port of a Service. */
function isRejecting({ report }: LiveRun): boolean {
  return report.node.proxyMode === 'nftables';
}

async function ourPods(): Promise<string[]> {
  const names = await kubectl(
    'get',
    'pods',
    '-A',
    '-l',
    'app.kubernetes.io/managed-by=kubectl-trace-svc',
    '-o',
    'name',
  );
  return names.split('\n').filter(name => name !== '');
}

async function fingerprints(): Promise<unknown> {
  if (!NODES_CAN_BE_SEEN) return [];
  const both = [await fingerprint('n1'), await fingerprint('n2')];
  return both.map(one => ({ ...one, legacy: withoutEmptyRaw(one.legacy ?? '') }));
}

/** The kernel keeps a legacy table that was looked at; method raw asks for the raw one, and leaves it empty. */
function withoutEmptyRaw(tables: string): string {
  return tables.replace(/^\*raw\n:PREROUTING ACCEPT \n:OUTPUT ACCEPT \nCOMMIT\n/gm, '');
}

/** For every answered question, in order: the pod the trace says has answered. */
function tracedEndpoints({ report }: LiveRun): (string | undefined)[] {
  return report.probes.flatMap(({ kind, outcome }, index) => {
    if (kind === 'ping' || outcome !== 'answered') return [];
    const firsts = report.journeys.filter(j => j.probe === index && j.direction === 'request' && !j.later);
    return firsts.map(({ endpoint }) => endpoint?.pod ?? endpoint?.address);
  });
}

/** And the pod that says it has. The API server is no pod, and tells nobody its name. */
function bodies({ capture }: LiveRun): string[] {
  return capture.probes.flatMap(({ kind, code, stdout }) => {
    if (kind === 'ping' || code !== 0) return [];
    return [stdout.startsWith('{') ? (capture.objects.endpoints[0]?.address ?? '') : stdout.trim()];
  });
}

function translations({ report }: LiveRun) {
  return report.journeys.flatMap(({ packet, rewrites, direction, later }) => {
    const dnat = rewrites.find(rewrite => rewrite.field === 'dst')?.to;
    return dnat !== undefined && direction === 'request' && !later && packet.sport !== undefined
      ? [{ packet, dnat }]
      : [];
  });
}

function conntrackOf({ capture }: LiveRun, sport: number | undefined) {
  return capture.conntrack.flatMap(text => parseConntrack(text)).find(entry => entry.original.sport === sport);
}

describe('a workstation whose clock is wrong: Date, as the program sees it, is put out by that much', () => {
  const clockOff = (ms: number) => ({
    NODE_OPTIONS: `--import data:text/javascript,const%20now=Date.now;Date.now=()=>now()+(${ms})`,
  });
  const run = (words: string[], ms: number, interruption?: Interruption) =>
    runPlugin(['-n', NAMESPACE, ...words], kubeconfig(), interruption, clockOff(ms));

  it.each([
    ['two hours ahead', 7_200_000],
    ['two hours behind', -7_200_000],
  ])('%s: it traces all the same, and cleanup leaves a run that is going on', async (_, ms) => {
    const swept: Promise<Ended>[] = [];
    const traced = await run(['web', ...n1(place)], ms, {
      at: 'gathering',
      act: () => void swept.push(run(['cleanup', '--node', place.n1], ms)),
    });
    expect(traced.code).toBe(0);
    expect((await Promise.all(swept)).map(({ stdout }) => stdout)).toEqual([expect.not.stringMatching(/removed pod/)]);
    const asked = await run(['doctor', '--node', place.n1], ms);
    expect(asked.stdout).toMatch(/the API server's clock is 7(1|2)\d\d s (ahead of|behind) this machine's/);
  });
});
