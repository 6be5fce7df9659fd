/** The probes' command lines: what was asked for reaches the network byte by byte, and no shell sees anything else in it. */
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { curlProbe, pingProbe, speaksTls, udpProbe } from '../../src/plan/probes.ts';

const SHELLS = ['sh', 'dash', 'bash', 'busybox'].filter(name => {
  try {
    execFileSync(name, name === 'busybox' ? ['sh', '-c', ':'] : ['-c', ':'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

describe.each(SHELLS)('what is sent by UDP, through %s', shell => {
  const argv = (script: string, payload: string): [string, string[]] => [
    shell,
    [...(shell === 'busybox' ? ['sh'] : []), '-c', script, 'udp', payload],
  ];
  const sent = (data: string, port = 5000): Buffer => {
    const [command, args] = argv('printf "$1"', udpProbe('10.0.0.1', port, data, 1).argv[4] as string);
    return execFileSync(command, args);
  };
  test.each([
    ['words', 'hostname\n'],
    ['nothing', ''],
    ['what printf would read', '%s %d %% \\n \\0 \\x41 %'],
    ['what a shell would read', '$HOME `id` $(id) "; \'; *'],
    ['a dash first', '-v x'],
    ['letters of several bytes', 'grüß 日本 🙂'],
    ['digits behind a byte', '\u00017'],
    ['blanks and ends', ' \t\r\n\n'],
  ])('%s', (_, data) => expect(sent(data)).toEqual(Buffer.from(data)));
  test('whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), data => {
        expect(sent(data)).toEqual(Buffer.from(data));
      }),
      { numRuns: 60 },
    );
  });
  test('a question for a name server is one, with its bytes 0', () => {
    expect(sent('ignored', 53).toString('hex')).toBe('12340100000100000000000000000200 01'.replace(' ', ''));
  });
});

describe('UDP', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['fd00::1', '[fd00::1]'],
  ])('to %s', (address, host) => {
    const { argv, target } = udpProbe(address, 5000, 'x', 3);
    expect(argv.slice(3)).toEqual(['udp', '\\170', host, '5000', '3', address]);
    expect(target).toBe(`${host}:5000`);
  });

  /** The script with programs of our own in place of socat and nc. */
  const run = (tools: Record<string, string>) => {
    const [, , script = '', ...args] = udpProbe('10.0.0.1', 5000, 'ping', 1).argv;
    const functions = Object.entries(tools).map(([name, body]) => `${name}() { ${body}; }`);
    const there = Object.keys(tools).join('|') || 'none';
    const hide = `command() { case $2 in ${there}) return 0 ;; *) return 1 ;; esac; }`;
    try {
      const stdout = execFileSync('sh', ['-c', [hide, ...functions, script].join('\n'), ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      return { code: 0, stdout: stdout.toString() };
    } catch (error) {
      const { status, stderr } = error as { status: number; stderr: Buffer };
      return { code: status, stderr: stderr.toString() };
    }
  };
  test.each<[string, Record<string, string>, object]>([
    ['an answer, by socat', { socat: 'cat; echo " $*"' }, { code: 0, stdout: 'ping -T 1 - UDP:10.0.0.1:5000\n' }],
    ['an answer, by nc', { nc: 'cat; echo " $*"' }, { code: 0, stdout: 'ping -u -w 1 10.0.0.1 5000\n' }],
    [
      'an answer, by bash',
      { bash: 'printf "%s " "$3" "$4" "$5" "$6" "$7"' },
      { code: 0, stdout: 'udp \\160\\151\\156\\147 10.0.0.1 5000 1 \n' },
    ],
    ['socat first', { socat: 'echo s', nc: 'echo n', bash: 'echo b' }, { code: 0, stdout: 's\n' }],
    ['silence', { socat: ':' }, { code: 28 }],
    ['a port that is closed', { socat: 'echo "read: Connection refused"' }, { code: 7 }],
    ['no way there', { nc: 'echo "Network is unreachable"' }, { code: 113 }],
    ['bytes 0 are left out', { socat: "printf 'a\\000b'" }, { code: 0, stdout: 'ab\n' }],
    ['no tool at all', {}, { code: 127, stderr: 'socat, nc or bash\n' }],
  ])('%s', (_, tools, wanted) => expect(run(tools)).toMatchObject(wanted));
});

/** bash alone, against sockets that are there: its way to read a datagram is its own. */
describe.runIf(SHELLS.includes('bash'))('UDP by bash', () => {
  const ask = async (port: number, seconds: number): Promise<{ code: number | null; stdout: string }> => {
    const [, , script = '', ...args] = udpProbe('127.0.0.1', port, 'ping', seconds).argv;
    const hide = 'command() { [ "$2" = bash ]; }';
    const child = spawn('sh', ['-c', `${hide}\n${script}`, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', chunk => {
      stdout += chunk;
    });
    const [code] = await once(child, 'close');
    return { code, stdout };
  };
  const server = async (listen: (answer: (text: string) => void, data: Buffer) => void) => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.on('message', (data, from) => listen(text => socket.send(text, from.port, from.address), data));
    return socket;
  };
  test('an answer is one datagram, and is not waited on for more', async () => {
    const socket = await server((answer, data) => answer(`got ${data}`));
    expect(await ask(socket.address().port, 60)).toEqual({ code: 0, stdout: 'got ping\n' });
    socket.close();
  });
  test('silence', async () => {
    const socket = await server(() => {});
    expect(await ask(socket.address().port, 1)).toEqual({ code: 28, stdout: '' });
    socket.close();
  });
  test('a port that is closed', async () => {
    const socket = await server(() => {});
    const { port } = socket.address();
    socket.close();
    expect(await ask(port, 60)).toEqual({ code: 7, stdout: '' });
  });
});

describe('curl and ping', () => {
  test.each([
    ['10.0.0.1', 80, 'http', '/', 'http://10.0.0.1:80/'],
    ['fd00::1', 443, 'https', '/a?b=[1]&c={d}', 'https://[fd00::1]:443/a?b=[1]&c={d}'],
  ] as const)('curl %s', (address, port, scheme, path, url) => {
    const { argv, timeout } = curlProbe(address, port, { scheme, path, seconds: 3 });
    expect(argv.at(-1)).toBe(url);
    // -g: brackets are no range; -k: the certificate is not what is asked about; no proxy, no file of its own.
    expect(argv).toEqual(expect.arrayContaining(['-g', '-k', '--noproxy', '*', '--max-time', '3', '--max-filesize']));
    expect(timeout).toBeGreaterThan(3);
  });
  test('ping', () =>
    expect(pingProbe('fd00::1')).toMatchObject({ kind: 'ping', argv: ['ping', '-c', '1', '-W', '1', 'fd00::1'] }));
  test.each([
    [443, '', true],
    [6443, '', true],
    [8443, 'x', true],
    [80, 'https', true],
    [9000, 'grpc-tls', true],
    [80, 'http', false],
    [8080, '', false],
  ])('%i %j speaks TLS: %s', (port, name, tls) => expect(speaksTls(port, name)).toBe(tls));
});
