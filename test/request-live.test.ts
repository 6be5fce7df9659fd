/** Words of the command line -> a live run; and every wrong one refused, with the way out. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeOf, TraceError } from '../src/errors.ts';
import {
  type CleanupFlags,
  type DoctorFlags,
  EXPECTATIONS,
  type LiveFlags,
  parseCleanup,
  parseDoctor,
  parseLive,
} from '../src/request-live.ts';

function refusal(work: () => unknown): TraceError {
  try {
    work();
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

const refuse = (words: string[], flags: LiveFlags = {}, env = {}) => refusal(() => parseLive(words, flags, env));

describe('nothing is asked for', () => {
  test('the whole request', () => {
    expect(parseLive([], {}, {})).toEqual({
      command: 'live',
      format: 'tree',
      colour: 'auto',
      quiet: false,
      agentImage: 'docker.io/nicolaka/netshoot:latest',
      pullPolicy: 'IfNotPresent',
      pullSecrets: [],
      kube: { requestTimeoutMs: 10_000 },
      service: 'kubernetes',
      namespace: 'default',
      method: 'auto',
      log: 'auto',
      image: 'docker.io/nicolaka/netshoot:latest',
      timeout: 3,
      startTimeoutMs: 30_000,
      count: 1,
      via: 'cluster-ip',
      path: '/',
      udpData: 'hostname\n',
      dryRun: false,
      interactive: false,
      verbose: false,
    });
  });
});

describe('the target', () => {
  test.each<[string[], string, string | undefined]>([
    [['web'], 'web', undefined],
    [['svc/web'], 'web', undefined],
    [['service/web'], 'web', undefined],
    [['services/web'], 'web', undefined],
    [['SVC/web'], 'web', undefined],
    [['web:80'], 'web', '80'],
    [['svc/web:http'], 'web', 'http'],
    [['web', '80'], 'web', '80'],
    [['svc/web', 'http'], 'web', 'http'],
    [['web:53/udp'], 'web', '53/udp'],
    [['web', '53/UDP'], 'web', '53/UDP'],
    [['web:dns/tcp'], 'web', 'dns/tcp'],
    [['web:1'], 'web', '1'],
    [['web:65535'], 'web', '65535'],
    [['1-a'], '1-a', undefined],
    [['svc/doctors'], 'doctors', undefined],
    [['a'.repeat(63)], 'a'.repeat(63), undefined],
  ])('%j', (words, service, port) => {
    const request = parseLive(words, {}, {});
    expect([request.service, request.port, request.namespace]).toEqual([service, port, undefined]);
  });

  test.each<[string, string[], RegExp, RegExp]>([
    ['three words', ['web', '80', 'x'], /3 words are too many: "web" "80" "x"/, /svc\/NAME:PORT/],
    ['two ports', ['web:80', '81'], /two ports: "80" and "81"/, /Name one/],
    ['no name', ['svc/'], /the Service has no name/, /svc\/my-service/],
    ['an empty word', [''], /the Service has no name/, /svc\/my-service/],
    ['a port alone', [':80'], /the Service has no name/, /svc\/my-service/],
    ['capitals', ['Web'], /"Web" cannot be the name of a Service/, /lower-case/],
    ['a DNS name', ['web.shop.svc'], /cannot be the name/, /svc\/my-service/],
    ['a name too long', ['a'.repeat(64)], /cannot be the name/, /lower-case/],
    ['a dash first', ['svc/-a'], /cannot be the name/, /lower-case/],
    ['a newline', ['web\n'], /"web\\n" cannot be/, /lower-case/],
    ['a pod', ['pod/web-0'], /"pod\/web-0" is no Service/, /--from pod\/NAME/],
    ['a deployment', ['deploy/web'], /is no Service/, /which one stands before it/],
    ['a namespace and a name', ['shop/web:80'], /is no Service/, /svc\/web -n shop/],
    ['a slash first', ['/web'], /is no Service/, /svc\/web -n NAMESPACE/],
    ['a URL', ['http://web:80/x'], /"http:\/\/web:80\/x" is an address, not a Service/, /--path/],
    ['an address', ['10.96.0.1'], /"10\.96\.0\.1" is an address, not a Service/, /-o wide/],
    ['an address of IPv6', ['fd00::1'], /is an address, not a Service/, /-o wide/],
    ['port 0', ['web:0'], /"0" is neither a port number/, /svc\/web:80/],
    ['a port too large', ['web', '65536'], /"65536" is neither/, /svc\/web:80/],
    ['a negative port', ['web', '-1'], /"-1" is neither/, /svc\/web:80/],
    ['an empty port', ['web:'], /"" is neither/, /svc\/web:http/],
    ['a port name too long', ['web', 'a'.repeat(16)], /is neither/, /svc\/web:http/],
    ['a port with a point', ['web', '80.5'], /is neither/, /svc\/web:80/],
    ['a port as the shell would have it', ['web', '0x50;ls'], /is neither/, /svc\/web:80/],
    ['SCTP', ['web:80/sctp'], /"80\/sctp": only TCP and UDP/, /53\/udp/],
    ['a command, mistyped', ['docter'], /unknown command 'docter' \(did you mean doctor\?\)/, /svc\/docter/],
    ['another', ['clean-up'], /did you mean cleanup\?/, /svc\/clean-up/],
    ['another', ['explian'], /did you mean explain\?/, /svc\/explian/],
  ])('refused: %s', (_, words, message, remedy) => {
    const error = refuse(words);
    expect(error.message).toMatch(message);
    expect(error.remedy).toMatch(remedy);
    expect(exitCodeOf(error.kind)).toBe(EXIT.usage);
  });
});

describe('flags', () => {
  test.each<[LiveFlags, object]>([
    [{ node: 'n1.example.com' }, { node: 'n1.example.com' }],
    [{ from: 'client-0' }, { from: 'client-0' }],
    [{ from: 'pod/client-0' }, { from: 'client-0' }],
    [{ from: 'pods/client-0' }, { from: 'client-0' }],
    [{ method: 'raw' }, { method: 'raw' }],
    [{ logSource: 'kmsg' }, { log: 'kmsg' }],
    [{ image: 'r.example:5000/a/b:v1' }, { image: 'r.example:5000/a/b:v1', agentImage: 'r.example:5000/a/b:v1' }],
    [
      { image: 'a', agentImage: `b@sha256:${'0'.repeat(64)}` },
      { image: 'a', agentImage: `b@sha256:${'0'.repeat(64)}` },
    ],
    [{ timeout: '60' }, { timeout: 60 }],
    [{ timeout: '5s' }, { timeout: 5 }],
    [{ startTimeout: '600' }, { startTimeoutMs: 600_000 }],
    [{ count: '100' }, { count: 100 }],
    [{ ipFamily: 'IPv4' }, { family: 'ipv4' }],
    [{ ipFamily: '6' }, { family: 'ipv6' }],
    [{ via: 'load-balancer' }, { via: 'load-balancer' }],
    [{ path: '/a?b=c&d=[1]' }, { path: '/a?b=c&d=[1]' }],
    [{ scheme: 'https' }, { scheme: 'https' }],
    [{ udpData: '' }, { udpData: '' }],
    [
      { imagePullPolicy: 'Never', imagePullSecret: ['a', 'b.c'] },
      { pullPolicy: 'Never', pullSecrets: ['a', 'b.c'] },
    ],
    [{ agentNamespace: 'kube-system' }, { agentNamespace: 'kube-system' }],
    [
      { dryRun: true, interactive: true, verbose: true, quiet: true },
      { dryRun: true, interactive: true, verbose: true, quiet: true },
    ],
    [
      { save: 'x.json', output: 'json', color: 'never' },
      { save: 'x.json', format: 'json', colour: 'never' },
    ],
    [
      { namespace: 'shop', context: 'c', as: 'jane', asGroup: ['a', 'b'], asUid: '1', server: 's', token: 't' },
      {
        kube: {
          namespace: 'shop',
          context: 'c',
          as: 'jane',
          asGroup: ['a', 'b'],
          asUid: '1',
          server: 's',
          token: 't',
          requestTimeoutMs: 10_000,
        },
      },
    ],
    ...EXPECTATIONS.map((expect): [LiveFlags, object] => [{ expect }, { expect }]),
  ])('%j', (flags, wanted) => expect(parseLive(['web'], flags, {})).toMatchObject(wanted));

  test.each<[string, number]>([
    ['10s', 10_000],
    ['5', 5000],
    ['300ms', 300],
    ['1m30s', 90_000],
    ['1.5m', 90_000],
    ['0', 2 ** 31 - 1],
    ['0s', 2 ** 31 - 1],
    ['9999h', 2 ** 31 - 1],
    ['99999999999', 2 ** 31 - 1],
    ['0.01ms', 1],
  ])('--request-timeout %s', (requestTimeout, ms) => {
    expect(parseLive([], { requestTimeout }, {}).kube.requestTimeoutMs).toBe(ms);
  });

  const ENV = {
    KUBECTL_TRACE_SVC_IMAGE: 'env:1',
    KUBECTL_TRACE_SVC_AGENT_IMAGE: 'env:2',
    KUBECTL_TRACE_SVC_AGENT_NAMESPACE: 'env',
    KUBECTL_TRACE_SVC_METHOD: 'raw',
  };
  test('the environment, where no flag is', () => {
    expect(parseLive([], {}, ENV)).toMatchObject({
      image: 'env:1',
      agentImage: 'env:2',
      agentNamespace: 'env',
      method: 'raw',
    });
    const flags = { image: 'a', agentImage: 'b', agentNamespace: 'c', method: 'nft' };
    expect(parseLive([], flags, ENV)).toMatchObject(flags);
  });
  test('an empty variable is none', () => {
    const empty = Object.fromEntries(Object.keys(ENV).map(key => [key, '']));
    expect(parseLive([], {}, empty)).toEqual(parseLive([], {}, {}));
    expect(parseCleanup({}, empty)).toEqual(parseCleanup({}, {}));
    expect(parseDoctor({}, empty)).toEqual(parseDoctor({}, {}));
  });

  test.each<[LiveFlags, RegExp, RegExp]>([
    [{ node: '' }, /--node "" is no valid name/, /lower-case/],
    [{ node: 'N1' }, /--node "N1" is no valid name/, /lower-case/],
    [{ node: 'n1', from: 'pod/x' }, /--from already tells the node/, /Leave --node out/],
    [{ from: 'deploy/x' }, /--from "deploy\/x" is no pod/, /--from pod\/NAME/],
    [{ from: 'pod/' }, /--from "" is no valid name/, /lower-case/],
    [{ from: 'shop/x' }, /is no pod/, /pod\/NAME/],
    [{ method: 'iptables' }, /--method "iptables" is not known/, /auto, nft, raw/],
    [{ logSource: 'none' }, /--log-source "none" is not known/, /auto, nflog, kmsg, journald, file/],
    [{ image: '' }, /--image "" is no image/, /netshoot/],
    [{ image: '-x' }, /--image "-x" is no image/, /netshoot/],
    [{ image: 'a b' }, /is no image/, /netshoot/],
    [{ agentImage: '$(x)' }, /--agent-image "\$\(x\)" is no image/, /netshoot/],
    [{ imagePullPolicy: 'always' }, /--image-pull-policy "always" is not known/, /Always, IfNotPresent, Never/],
    [{ imagePullSecret: ['a', 'B'] }, /--image-pull-secret "B" is no valid name/, /lower-case/],
    [{ agentNamespace: 'a_b' }, /--agent-namespace "a_b" is no valid name/, /lower-case/],
    [{ namespace: 'a/b' }, /--namespace "a\/b" is no valid name/, /lower-case/],
    [{ timeout: '0' }, /--timeout "0" is not a number from 1 to 60/, /--timeout 3/],
    [{ timeout: '61' }, /from 1 to 60/, /--timeout 3/],
    [{ timeout: '1.5' }, /from 1 to 60/, /--timeout 3/],
    [{ timeout: '' }, /from 1 to 60/, /--timeout 3/],
    [{ timeout: '1e1' }, /from 1 to 60/, /--timeout 3/],
    [{ timeout: '1m' }, /from 1 to 60/, /--timeout 3/],
    [{ count: '101' }, /--count "101" is not a number from 1 to 100/, /--count 3/],
    [{ count: '-1' }, /from 1 to 100/, /--count 3/],
    [{ startTimeout: '601' }, /--start-timeout "601" is not a number from 1 to 600/, /--start-timeout/],
    [{ deadline: '4' }, /--deadline "4" is too short for a trace/, /5 seconds or more/],
    [{ deadline: '3601' }, /--deadline "3601" is not a number from 1 to 3600/, /--deadline/],
    [{ ipFamily: 'IPv5' }, /--ip-family "IPv5" is not known/, /IPv4 or IPv6/],
    [{ via: 'dns' }, /--via "dns" is not known/, /cluster-ip, external-ip, load-balancer, node-port/],
    [{ scheme: 'ftp' }, /--scheme "ftp" is not known/, /http, https/],
    [{ expect: 'maybe' }, /--expect "maybe" is not known/, /answered, refused, timeout, unreachable/],
    [{ path: 'x' }, /--path "x" is no path/, /--path \/healthz/],
    [{ path: '/a b' }, /is no path/, /without spaces/],
    [{ path: '/a\nb' }, /is no path/, /without spaces/],
    [{ path: '/ä' }, /is no path/, /healthz/],
    [{ path: '' }, /--path "" is no path/, /healthz/],
    [{ dryRun: true, save: 'x' }, /--dry-run gathers nothing to --save/, /Leave one out/],
    [{ requestTimeout: 'soon' }, /--request-timeout "soon" is no duration/, /10s, 1m or 0/],
    [{ requestTimeout: '' }, /is no duration/, /10s/],
    [{ requestTimeout: '10s!' }, /is no duration/, /10s/],
    [{ requestTimeout: '-1s' }, /is no duration/, /10s/],
    [{ output: 'xml' }, /-o "xml" is not a format/, /json/],
  ])('refused: %j', (flags, message, remedy) => {
    const error = refuse(['web'], flags);
    expect(error.message).toMatch(message);
    expect(error.remedy).toMatch(remedy);
    expect(exitCodeOf(error.kind)).toBe(EXIT.usage);
  });
});

describe('cleanup and doctor', () => {
  test('cleanup of one run on one node', () => {
    expect(parseCleanup({ run: 'abcd1234', node: 'n1', agentImage: 'x' }, {})).toMatchObject({
      run: 'abcd1234',
      node: 'n1',
      agentImage: 'x',
    });
  });
  test('doctor of every node, as JSON', () => {
    expect(parseDoctor({ allNodes: true, output: 'json' }, {})).toMatchObject({ allNodes: true, format: 'json' });
  });
  test.each<[string, () => unknown, RegExp]>([
    ['a run that is none', () => parseCleanup({ run: 'a b' }, {}), /--run "a b" is no run/],
    ['a run for the shell', () => parseCleanup({ run: 'abcd;ls' }, {}), /is no run/],
    ['every run', () => parseCleanup({ run: 'all' } as CleanupFlags, {}), /--run "all" is no run/],
    ['a node that is none', () => parseCleanup({ node: 'N' }, {}), /--node "N"/],
    ['one node and all', () => parseDoctor({ node: 'n', allNodes: true } as DoctorFlags, {}), /exclude each other/],
    ['a format for traces', () => parseDoctor({ output: 'tree' }, {}), /-o "tree" is not known/],
  ])('refused: %s', (_, work, message) => expect(refusal(work).message).toMatch(message));
});

describe('whatever the words are', () => {
  const word = fc.string({ unit: 'binary', maxLength: 120 });
  const near = fc.stringMatching(/^(svc\/)?[a-z0-9.:/-]{0,12}$/);
  const keys = [
    'node',
    'from',
    'method',
    'image',
    'timeout',
    'count',
    'via',
    'path',
    'requestTimeout',
    'namespace',
  ] as const;
  test('the answer is a request or a refusal on one line', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(word, near), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...keys), fc.oneof(word, near)),
        (words, flags) => {
          try {
            const request = parseLive(words, flags as LiveFlags, {});
            expect(request.service).toMatch(/^[a-z0-9-]{1,63}$/);
            expect(request.port ?? '80').toMatch(/^[a-z0-9-]{1,15}(\/(tcp|udp))?$/i);
          } catch (error) {
            expect(error).toBeInstanceOf(TraceError);
            expect((error as TraceError).message).not.toMatch(/[\u0000-\u001f]/);
            expect((error as TraceError).message.length).toBeLessThan(400);
          }
        },
      ),
    );
  });
});
