/**
 * The waist: everything gathered about one run, as one JSON value. Live runs, the lab and files on disk all become one of
 * these, and everything after it is pure. A saved capture is the fixture, the bug report and the lesson.
 */

import { TraceError } from './errors.ts';
import type { KubeObjects, Probe } from './model.ts';
import { departsFrom, type Shape } from './shape-of.ts';
import { API_VERSION } from './version.ts';

export const CAPTURE_KIND = 'Capture';

export interface CaptureTrace {
  /** What the text is, for people: `kmsg`, `nft-monitor`, a file's name. */
  name: string;
  text: string;
}

export interface CaptureRules {
  name: string;
  text: string;
}

export interface CaptureProbe {
  kind: Probe['kind'];
  target: string;
  argv: string[];
  stdout: string;
  stderr: string;
  code: number;
  durationMs: number;
}

export interface Capture {
  apiVersion: typeof API_VERSION;
  kind: typeof CAPTURE_KIND;
  origin: 'live' | 'lab' | 'files';
  /** When the run began, ISO 8601, for people. */
  startedAt?: string;
  target?: { namespace: string; service: string; port?: number };
  source?: { namespace?: string; pod?: string; ips: string[]; node?: string };
  node?: { name?: string; kernel?: string; proxyMode?: string; method?: string; tools?: Record<string, string> };
  objects: KubeObjects;
  rules: CaptureRules[];
  traces: CaptureTrace[];
  probes: CaptureProbe[];
  /** What curl and ping printed, where only the text is known (explain --probe). */
  probeTexts: string[];
  conntrack: string[];
  ipsets: string[];
  ipvs: string[];
  /** How the node would route to each address the packet was seen to go to: `ADDRESS ROUTE`, as `ip route get` prints it. */
  routes: string[];
  /** Losses the collector itself noticed: a full buffer, a budget that ran out. */
  losses: string[];
  timings?: Record<string, number>;
  cleanup: { complete: boolean; removed: string[]; left?: string[] };
  notes: string[];
}

export function emptyCapture(origin: Capture['origin'], objects: KubeObjects): Capture {
  return {
    apiVersion: API_VERSION,
    kind: CAPTURE_KIND,
    origin,
    objects,
    rules: [],
    traces: [],
    probes: [],
    probeTexts: [],
    conntrack: [],
    ipsets: [],
    ipvs: [],
    routes: [],
    losses: [],
    cleanup: { complete: true, removed: [] },
    notes: [],
  };
}

/** Something of ours is still there. */
export function markLeft(capture: Capture, left: string[]): void {
  if (left.length === 0) return;
  capture.cleanup = { ...capture.cleanup, complete: false, left: [...(capture.cleanup.left ?? []), ...left] };
}

export function encodeCapture(capture: Capture): string {
  return `${JSON.stringify(capture, undefined, 1)}\n`;
}

/** Does this JSON value claim to be a capture? */
export function isCapture(value: unknown): value is { kind: 'Capture' } {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === CAPTURE_KIND;
}

/** @throws TraceError(usage) where the value claims to be a capture and is not one we can read. */
export function decodeCapture(value: unknown, name: string): Capture {
  const given = value as Partial<Capture>;
  if (given.apiVersion !== API_VERSION)
    throw new TraceError(
      'usage',
      `${name} is a capture of version ${String(given.apiVersion)}; this program reads ${API_VERSION}`,
      'Use the version of kubectl-trace_svc that wrote it.',
    );
  const base = emptyCapture(given.origin ?? 'files', { services: [], endpoints: [], pods: [], nodes: [] });
  const capture = { ...base, ...given, objects: { ...base.objects, ...given.objects } };
  // Spread, a list would look like no objects at all.
  const wrong = departsFrom(given.objects ?? {}, {}, 'objects') ?? departsFrom(capture, SHAPE, '');
  if (wrong !== undefined)
    throw new TraceError('usage', `${name} is a damaged capture: ${wrong}`, 'Save the run again with --save.');
  return capture;
}

const NAMED_TEXT: Shape = { name: 'string', text: 'string' };
const CLEANUP: Shape = { complete: 'boolean', removed: ['string'], '?left': ['string'] };

const SHAPE: Shape = {
  origin: new Set(['live', 'lab', 'files']),
  '?startedAt': 'string',
  '?target': { namespace: 'string', service: 'string', '?port': 'number' },
  '?source': { '?namespace': 'string', '?pod': 'string', ips: ['string'], '?node': 'string' },
  '?node': {
    '?name': 'string',
    '?kernel': 'string',
    '?proxyMode': 'string',
    '?method': 'string',
    '?tools': { '*': 'string' },
  },
  objects: {
    services: [
      {
        namespace: 'string',
        name: 'string',
        type: 'string',
        clusterIPs: ['string'],
        externalIPs: ['string'],
        loadBalancerIPs: ['string'],
        '?externalName': 'string',
        ports: [{ name: 'string', port: 'number', protocol: 'string', '?targetPort': 'any', '?nodePort': 'number' }],
        hasSelector: 'boolean',
        sessionAffinity: 'boolean',
        '?affinitySeconds': 'number',
        internalTrafficPolicy: 'string',
        externalTrafficPolicy: 'string',
        ipFamilies: ['string'],
      },
    ],
    endpoints: [
      {
        address: 'string',
        port: 'number',
        protocol: 'string',
        portName: 'string',
        ready: 'boolean',
        '?pod': 'string',
        '?node': 'string',
        namespace: 'string',
        service: 'string',
      },
    ],
    pods: [{ namespace: 'string', name: 'string', ips: ['string'], '?node': 'string', hostNetwork: 'boolean' }],
    nodes: [{ name: 'string', addresses: ['string'], podCIDRs: ['string'] }],
  },
  rules: [NAMED_TEXT],
  traces: [NAMED_TEXT],
  probes: [
    {
      kind: new Set(['curl', 'ping', 'udp', 'tcp']),
      target: 'string',
      argv: ['string'],
      stdout: 'string',
      stderr: 'string',
      code: 'number',
      durationMs: 'number',
    },
  ],
  probeTexts: ['string'],
  conntrack: ['string'],
  ipsets: ['string'],
  ipvs: ['string'],
  routes: ['string'],
  losses: ['string'],
  cleanup: CLEANUP,
  notes: ['string'],
};
