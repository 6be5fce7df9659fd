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

/** @param seconds the longest a probe may take */
export function curlProbe(address: string, port: number, tls: boolean, seconds: number): ProbePlan {
  const url = `${tls ? 'https' : 'http'}://${hostPort(address, port)}/`;
  const meta = '%{stderr}%{http_code} %{remote_ip}:%{remote_port}\\n';
  return {
    kind: 'curl',
    target: hostPort(address, port),
    argv: [
      'curl',
      '-sS',
      '-g',
      '-k',
      '--noproxy',
      '*',
      '--max-time',
      String(seconds),
      '--max-filesize',
      '65536',
      '-w',
      meta,
      url,
    ],
    timeout: seconds + 2,
  };
}

export function pingProbe(address: string): ProbePlan {
  return { kind: 'ping', target: address, argv: ['ping', '-c', '1', '-W', '1', address], timeout: 4 };
}
