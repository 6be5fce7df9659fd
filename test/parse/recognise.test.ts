import { describe, expect, it } from 'vitest';
import { whatIsIt } from '../../src/parse/recognise.ts';
import { capture } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';

describe('what a text looks like', () => {
  it.each([
    { file: 'legacy/web-curl/kmsg.txt', want: /kernel log with TRACE/ },
    { file: 'nft/web-curl/nft-monitor.txt', want: /nft monitor trace/ },
    { file: 'nft/web-curl/nft-ruleset.txt', want: /nft list ruleset/ },
    { file: 'nft/web-curl/iptables-save.txt', want: /iptables-save/ },
    { file: 'nft/web-curl/conntrack.txt', want: /conntrack/ },
    { file: 'nft/web-curl/probe.out', want: /curl or ping/ },
    { file: 'nft/web-ping/probe.out', want: /curl or ping/ },
    { file: 'nft/noep-curl/probe.err', want: /curl or ping/ },
    { file: 'nft/objects.json', want: /Kubernetes objects/ },
  ])('$file', ({ file, want }) => expect(whatIsIt(capture(file))).toMatch(want));

  it.each([
    { text: '{"apiVersion":"trace-svc/v1alpha1","kind": "Capture"}', want: /saved capture/ },
    { text: '{"kind":"Pod"}', want: /Kubernetes objects/ },
    { text: '{"x": 1}', want: /JSON/ },
    { text: '  [1, 2]', want: /JSON/ },
    { text: 'create KUBE-CLUSTER-IP hash:ip,port\nadd KUBE-CLUSTER-IP 10.0.0.1,tcp:80', want: /ipset save/ },
    { text: '[ 1.0] DROPPED IN=eth0 OUT= MAC= SRC=10.0.0.1 DST=10.0.0.2', want: /LOG rule/ },
    { text: 'once upon a time', want: /none of the formats/ },
    { text: '', want: /none of the formats/ },
  ])('$text', ({ text, want }) => expect(whatIsIt(text)).toMatch(want));
});

survivesAnything(
  whatIsIt,
  [
    'legacy/web-curl/kmsg.txt',
    'nft/web-curl/nft-monitor.txt',
    'nft/web-curl/conntrack.txt',
    'nft/web-ping/probe.out',
  ].map(file => capture(file).slice(0, 2000)),
  what => expect(what).toMatch(/^it looks like /),
);
