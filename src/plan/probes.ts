/** The probes' command lines. What a server answers goes to standard output, what curl says of it to standard error. */
import { hostPort } from '../ip.ts';
import type { ProbeKind } from '../model.ts';

export interface ProbePlan {
  kind: ProbeKind;
  target: string;
  argv: string[];
  /** Seconds after which it is given up from outside. */
  timeout: number;
}

/** Ports that speak TLS by convention; a Service says so by its port's name. */
export function speaksTls(port: number, name: string): boolean {
  return [443, 6443, 8443].includes(port) || /https|tls/.test(name);
}

export interface HttpOrder {
  scheme: 'http' | 'https';
  path: string;
  /** The longest it may take, in seconds. */
  seconds: number;
}

/** A server's certificate is not what is asked about, and no proxy may come in between. */
export function curlProbe(address: string, port: number, { scheme, path, seconds }: HttpOrder): ProbePlan {
  const url = `${scheme}://${hostPort(address, port)}${path}`;
  const meta = '%{stderr}%{http_code} %{remote_ip}:%{remote_port} %{local_port}\\n';
  const limits = ['--max-time', String(seconds), '--max-filesize', '65536'];
  return {
    kind: 'curl',
    target: hostPort(address, port),
    argv: ['curl', '-sS', '-g', '-k', '--noproxy', '*', ...limits, '-w', meta, url],
    timeout: seconds + 2,
  };
}

/** A question every name server answers: the root's name servers (RFC 1035 4.1). */
const DNS_QUESTION = '\\022\\064\\001\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\001';

/**
 * UDP has no handshake: something is sent, and whatever comes back is an answer. Ends with 0 for an answer, 7 where the port
 * was said to be closed, 28 for silence, as curl would.
 */
const UDP_SCRIPT = [
  'if command -v socat >/dev/null; then answer=$(printf "$1" | socat -T "$4" - "UDP:$2:$3" 2>&1 | tr -d "\\000" | head -c 2000)',
  'elif command -v nc >/dev/null; then answer=$(printf "$1" | nc -u -w "$4" "$5" "$3" 2>&1 | tr -d "\\000" | head -c 2000)',
  // bash alone has no way to give up waiting. dd hands over what one datagram brought; head would wait for more, and lose it.
  'elif command -v bash >/dev/null; then answer=$(bash -c \'exec 3<>"/dev/udp/$2/$3" && printf "$1" >&3 && timeout "$4" dd bs=2000 count=1 status=none <&3\' udp "$1" "$5" "$3" "$4" 2>&1 | tr -d "\\000")',
  'else echo "socat, nc or bash" >&2; exit 127; fi',
  'case $answer in "") exit 28 ;; *"onnection refused"*) exit 7 ;; *unreachable*) exit 113 ;; *) printf "%s\\n" "$answer" ;; esac',
].join('\n');

export function udpProbe(address: string, port: number, data: string, seconds: number): ProbePlan {
  const payload = port === 53 ? DNS_QUESTION : escapeForPrintf(data);
  const host = address.includes(':') ? `[${address}]` : address;
  return {
    kind: 'udp',
    target: hostPort(address, port),
    argv: ['sh', '-c', UDP_SCRIPT, 'udp', payload, host, String(port), String(seconds), address],
    timeout: seconds + 2,
  };
}

/** Every byte in octal: printf sees nothing else. */
function escapeForPrintf(text: string): string {
  return [...new TextEncoder().encode(text)].map(byte => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}

export function pingProbe(address: string): ProbePlan {
  return { kind: 'ping', target: address, argv: ['ping', '-c', '1', '-W', '1', address], timeout: 4 };
}
