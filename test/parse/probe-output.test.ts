/** What curl and ping printed, in one text or several. */
import { describe, expect, it } from 'vitest';
import { parseProbeOutput } from '../../src/parse/probe-output.ts';
import { capture, captures } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

const COMMAND = "curl -sS -m 3 -o /dev/null -w '%{http_code} %{remote_ip}:%{remote_port}\\n' http://10.96.164.231/";
const PING = 'PING 10.96.0.1 (10.96.0.1) 56(84) bytes of data.';

describe('curl', () => {
  it.each([
    {
      name: 'command and answer',
      texts: [COMMAND, '200 10.96.164.231:80\n', '', '0'],
      want: [{ kind: 'curl', target: '10.96.164.231:80', outcome: 'answered', httpStatus: 200, detail: 'HTTP 200' }],
    },
    {
      name: 'the answer alone',
      texts: ['200 10.96.164.231:80'],
      want: [{ target: '10.96.164.231:80', httpStatus: 200 }],
    },
    {
      name: 'an IPv6 answer',
      texts: ['200 fd00:96::1:80 40522'],
      want: [{ target: '[fd00:96::1]:80', outcome: 'answered', sourcePort: 40522 }],
    },
    {
      name: 'an answer that does not tell the port it was asked from',
      texts: ['200 10.96.164.231:80'],
      want: [{ sourcePort: undefined }],
    },
    {
      name: 'no connection was made, and so from no port',
      texts: ['000 :0 0', 'curl: (28) Connection timed out after 3001 milliseconds'],
      want: [{ outcome: 'timeout', sourcePort: undefined }],
    },
    {
      name: 'no connection was made, as newer ones say it',
      texts: ['000 :-1 -1', 'curl: (28) Connection timed out after 3001 milliseconds'],
      want: [{ outcome: 'timeout', sourcePort: undefined }],
    },
    {
      name: 'a status that says failure is an answer all the same',
      texts: ['503 10.0.0.1:80'],
      want: [{ outcome: 'answered', httpStatus: 503 }],
    },
    {
      name: 'refused',
      texts: [
        COMMAND,
        '000 :0',
        "curl: (7) Failed to connect to 10.96.164.231 port 80 after 1 ms: Couldn't connect to server\ncommand terminated with exit code 7",
        '7',
      ],
      want: [{ target: '10.96.164.231:80', outcome: 'refused', durationMs: 1, httpStatus: undefined }],
    },
    {
      name: 'refused, as older ones say it',
      texts: ['curl: (7) Failed to connect to 10.96.164.231 port 80: Connection refused'],
      want: [{ target: '10.96.164.231:80', outcome: 'refused', durationMs: undefined }],
    },
    {
      name: 'timed out',
      texts: [COMMAND, '000 :0', 'curl: (28) Connection timed out after 3001 milliseconds', '28'],
      want: [{ target: '10.96.164.231:80', outcome: 'timeout', durationMs: 3001 }],
    },
    {
      name: 'timed out, naming the address',
      texts: ['curl: (28) Failed to connect to 10.96.0.1 port 443 after 3001 ms: Timeout was reached'],
      want: [{ target: '10.96.0.1:443', outcome: 'timeout', durationMs: 3001 }],
    },
    {
      name: 'no route',
      texts: ['curl: (7) Failed to connect to 10.96.0.1 port 443 after 3050 ms: No route to host'],
      want: [{ outcome: 'unreachable' }],
    },
    {
      name: 'unreachable IPv6',
      texts: ["curl: (7) Couldn't connect to fd00::1 port 80: Network is unreachable"],
      want: [{ target: '[fd00::1]:80', outcome: 'unreachable' }],
    },
    { name: 'reset', texts: ['curl: (56) Recv failure: Connection reset by peer'], want: [{ outcome: 'refused' }] },
    { name: 'no name', texts: ['curl: (6) Could not resolve host: web'], want: [{ outcome: 'error', target: '' }] },
    {
      name: 'TLS that somebody must have answered',
      texts: ['curl: (60) SSL certificate problem: self-signed certificate'],
      want: [{ outcome: 'answered' }],
    },
    { name: 'an empty answer', texts: ['curl: (52) Empty reply from server'], want: [{ outcome: 'answered' }] },
    {
      name: 'only the exit code',
      texts: [COMMAND, '', '', '28'],
      want: [{ target: '10.96.164.231:80', outcome: 'timeout' }],
    },
    { name: 'only the exit code, of a refusal', texts: [COMMAND, '7\n'], want: [{ outcome: 'refused' }] },
    { name: 'exit code 0 and no output', texts: [COMMAND, '', '0'], want: [{ outcome: 'answered' }] },
    { name: 'only the command', texts: [COMMAND], want: [{ target: '10.96.164.231:80', outcome: 'unknown' }] },
    {
      name: 'https',
      texts: ['curl -sSk https://10.96.0.1/version', '0'],
      want: [{ target: '10.96.0.1:443', outcome: 'answered' }],
    },
    {
      name: 'a port in the URL',
      texts: ['/usr/bin/curl http://10.96.0.1:8080/x', '0'],
      want: [{ target: '10.96.0.1:8080' }],
    },
    { name: 'IPv6 in the URL', texts: ['curl http://[fd00::1]:8080/x', '0'], want: [{ target: '[fd00::1]:8080' }] },
    { name: 'a name in the URL', texts: ['curl http://web.default/', '0'], want: [{ target: 'web.default:80' }] },
    {
      name: 'curl -v',
      texts: [
        '*   Trying 10.96.164.231:80...\n* Connected to 10.96.164.231 (10.96.164.231) port 80\n> GET / HTTP/1.1\n< HTTP/1.1 200 OK\n< Server: x',
      ],
      want: [{ target: '10.96.164.231:80', outcome: 'answered', httpStatus: 200 }],
    },
    {
      name: 'curl -v over IPv6',
      texts: [
        '*   Trying [fd00::1]:80...\n* connect to fd00::1 port 80 failed: Connection refused\ncurl: (7) Failed to connect to fd00::1 port 80 after 0 ms: Connection refused',
      ],
      want: [{ target: '[fd00::1]:80', outcome: 'refused', durationMs: 0 }],
    },
    {
      name: 'older curl -v over IPv6',
      texts: ['*   Trying fd00::1:80...\n< HTTP/2 404'],
      want: [{ target: '[fd00::1]:80', httpStatus: 404 }],
    },
    { name: 'curl -i', texts: ['HTTP/1.1 204 No Content\r\n'], want: [{ outcome: 'answered', httpStatus: 204 }] },
  ])('$name', ({ texts, want }) => expectLike(parseProbeOutput(texts), want));
});

describe('ping', () => {
  it.each([
    {
      name: 'answered (iputils)',
      texts: [
        `${PING}\n64 bytes from 10.96.0.1: icmp_seq=1 ttl=64 time=0.045 ms\n\n--- 10.96.0.1 ping statistics ---\n1 packets transmitted, 1 received, 0% packet loss, time 0ms\n`,
      ],
      want: [{ kind: 'ping', target: '10.96.0.1', outcome: 'answered', durationMs: 0.045, from: '10.96.0.1' }],
    },
    {
      name: 'answered (busybox)',
      texts: [
        'PING 10.96.0.1 (10.96.0.1): 56 data bytes\n64 bytes from 10.96.0.1: seq=0 ttl=64 time=0.100 ms\n\n--- 10.96.0.1 ping statistics ---\n1 packets transmitted, 1 packets received, 0% packet loss',
      ],
      want: [{ target: '10.96.0.1', outcome: 'answered', durationMs: 0.1 }],
    },
    {
      name: 'answered by name',
      texts: [
        'PING web.default.svc.cluster.local (10.96.0.1) 56(84) bytes of data.\n64 bytes from web.default.svc.cluster.local (10.96.0.1): icmp_seq=1 ttl=63 time=1.5 ms',
      ],
      want: [{ target: '10.96.0.1', outcome: 'answered', from: '10.96.0.1' }],
    },
    {
      name: 'answered by a name and its alias over IPv6',
      texts: [
        'PING web(web.default.svc.cluster.local (fd00::1)) 56 data bytes\n64 bytes from web.default.svc.cluster.local (fd00::1): icmp_seq=1 ttl=64 time=0.1 ms',
      ],
      want: [{ target: 'fd00::1', outcome: 'answered', from: 'fd00::1' }],
    },
    {
      name: 'answered over IPv6 (busybox)',
      texts: ['PING fd00::1 (fd00::1): 56 data bytes\n64 bytes from fd00::1: seq=0 ttl=64 time=0.1 ms'],
      want: [{ target: 'fd00::1', outcome: 'answered', from: 'fd00::1' }],
    },
    {
      name: 'no answer',
      texts: [
        'ping -c1 -W1 10.96.0.1',
        `${PING}\n\n--- 10.96.0.1 ping statistics ---\n1 packets transmitted, 0 received, 100% packet loss, time 0ms\n`,
        'command terminated with exit code 1',
        '1',
      ],
      want: [{ target: '10.96.0.1', outcome: 'timeout', detail: '1 sent, none answered' }],
    },
    {
      name: 'no answer (busybox)',
      texts: [
        'PING 10.96.0.1 (10.96.0.1): 56 data bytes\n\n--- 10.96.0.1 ping statistics ---\n3 packets transmitted, 0 packets received, 100% packet loss',
      ],
      want: [{ target: '10.96.0.1', outcome: 'timeout' }],
    },
    {
      name: 'unreachable, and who says so',
      texts: [
        `${PING}\nFrom 10.244.1.1 icmp_seq=1 Destination Port Unreachable\n\n--- 10.96.0.1 ping statistics ---\n1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms`,
      ],
      want: [
        {
          target: '10.96.0.1',
          outcome: 'unreachable',
          from: '10.244.1.1',
          detail: '10.244.1.1: Destination Port Unreachable',
        },
      ],
    },
    {
      name: 'unreachable, by a name',
      texts: [`${PING}\nFrom gw.local (10.244.1.1) icmp_seq=1 Destination Host Unreachable`],
      want: [{ outcome: 'unreachable', from: '10.244.1.1' }],
    },
    {
      name: 'administratively',
      texts: [`${PING}\nFrom 10.244.1.1 icmp_seq=1 Packet filtered`],
      want: [{ outcome: 'unreachable' }],
    },
    {
      name: 'some answered, some did not',
      texts: [
        `${PING}\nFrom 10.244.1.1 icmp_seq=1 Destination Host Unreachable\n64 bytes from 10.96.0.1: icmp_seq=2 ttl=64 time=2 ms\n2 packets transmitted, 1 received, +1 errors, 50% packet loss, time 1ms`,
      ],
      want: [{ outcome: 'answered' }],
    },
    {
      name: 'no network',
      texts: ['ping: connect: Network is unreachable'],
      want: [{ kind: 'ping', outcome: 'unreachable' }],
    },
    {
      name: 'no network (busybox)',
      texts: ['PING 10.96.0.1 (10.96.0.1): 56 data bytes\nping: sendto: Network unreachable'],
      want: [{ target: '10.96.0.1', outcome: 'unreachable' }],
    },
    { name: 'no name', texts: ['ping: web: Name or service not known'], want: [{ outcome: 'error' }] },
    { name: 'not allowed', texts: ['ping: socket: Operation not permitted'], want: [{ outcome: 'error' }] },
    {
      name: 'only command and exit code',
      texts: ['ping -c1 -W1 10.96.0.1', '', '1'],
      want: [{ target: '10.96.0.1', outcome: 'timeout' }],
    },
    {
      name: 'only command and exit code, of an error',
      texts: ['ping -c1 10.96.0.1', '2'],
      want: [{ outcome: 'error' }],
    },
    {
      name: 'only command and exit code 0',
      texts: ['ping6 -c1 fd00::1', '0'],
      want: [{ target: 'fd00::1', outcome: 'answered' }],
    },
  ])('$name', ({ texts, want }) => expectLike(parseProbeOutput(texts), want));
});

describe('several runs', () => {
  it.each([
    {
      name: 'curl and ping',
      texts: [`200 10.96.0.1:80\n${PING}\n1 packets transmitted, 0 received, 100% packet loss`],
      want: [
        ['curl', '10.96.0.1:80', 'answered'],
        ['ping', '10.96.0.1', 'timeout'],
      ],
    },
    {
      name: 'two pings of one address',
      texts: [
        `${PING}\n1 packets transmitted, 0 received\n${PING}\n64 bytes from 10.96.0.1: icmp_seq=1 ttl=64 time=1 ms`,
      ],
      want: [
        ['ping', '10.96.0.1', 'timeout'],
        ['ping', '10.96.0.1', 'answered'],
      ],
    },
    {
      name: 'curls of different addresses',
      texts: ['200 10.96.0.1:80\n200 10.96.0.2:80\n'],
      want: [
        ['curl', '10.96.0.1:80', 'answered'],
        ['curl', '10.96.0.2:80', 'answered'],
      ],
    },
    {
      name: 'two commands of one address, each with its outcome',
      texts: [`${COMMAND}\n200 10.96.164.231:80\n${COMMAND}\ncurl: (28) Connection timed out after 3001 milliseconds`],
      want: [
        ['curl', '10.96.164.231:80', 'answered'],
        ['curl', '10.96.164.231:80', 'timeout'],
      ],
    },
  ])('$name', ({ texts, want }) =>
    expect(parseProbeOutput(texts).map(p => [p.kind, p.target, p.outcome])).toEqual(want),
  );
});

describe('nothing of curl’s or ping’s', () => {
  it.each([[[]], [['']], [['hello\nworld']], [['command terminated with exit code 1']], [['7']], [['1.5 ms']]])(
    '%j',
    texts => expect(parseProbeOutput(texts)).toEqual([]),
  );
});

describe('real probes', () => {
  const OUTCOMES: Record<string, string> = {
    'legacy/apiserver-curl': 'timeout',
    'legacy/ext-curl': 'answered',
    'legacy/itplocal-curl': 'timeout',
    'legacy/noep-curl': 'refused',
    'legacy/np-local-curl': 'answered',
    'legacy/sticky-curl': 'answered',
    'legacy/web-curl': 'answered',
    'legacy/web-ping': 'timeout',
    'legacy/wrongport-curl': 'refused',
    'nft/apiserver-ping': 'timeout',
    'nft/self-curl': 'answered',
    'nft/unexposed-curl': 'timeout',
    'nftables/apiserver-ping': 'unreachable',
    'nftables/unexposed-curl': 'refused',
    'nftables/web-ping': 'unreachable',
  };
  it.each(Object.entries(OUTCOMES))('%s: %s', (path, outcome) => {
    const texts = ['cmd', 'out', 'err', 'rc'].map(kind => capture(`${path}/probe.${kind}`));
    const probes = parseProbeOutput(texts);
    expect(probes.map(probe => probe.outcome)).toEqual([outcome]);
    expect(texts[0]).toContain(probes[0]?.target.replace(/:(80|443)$/, ''));
    // The pieces may come in any order of files.
    expect(parseProbeOutput([texts.join('\n')])).toEqual(probes);
  });
});

survivesAnything(
  text => parseProbeOutput(text.split('\f')),
  [
    ...captures('probe.cmd'),
    ...captures('probe.out'),
    ...captures('probe.err'),
    {
      text: `${PING}\n64 bytes from web (10.96.0.1): icmp_seq=1 ttl=64 time=0.045 ms\n1 packets transmitted, 1 received, 0% loss`,
    },
    { text: '*   Trying [fd00::1]:80...\n< HTTP/1.1 200 OK\n7' },
  ].map(({ text }) => text),
  probes => {
    for (const { kind, outcome, target, durationMs = 0 } of probes) {
      expect(['curl', 'ping']).toContain(kind);
      expect(['answered', 'refused', 'timeout', 'unreachable', 'error', 'unknown']).toContain(outcome);
      expect([typeof target, Number.isNaN(durationMs)]).toEqual(['string', false]);
    }
  },
);
