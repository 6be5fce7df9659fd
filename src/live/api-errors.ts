/** Every way in which the API server does not do what was asked -> one clear line, as kubectl says it, and what to do. */
import { ApiError, TraceError } from '../errors.ts';

/** An answer that is not 2xx: a Kubernetes Status, or whatever a proxy in between has to say. */
export function apiErrorOf(status: number, body: string, what: string): ApiError {
  const { message, reason } = readStatus(body);
  const said = message ?? (wordsOf(body) || `HTTP ${status}`);
  if (status === 401)
    return new ApiError(
      401,
      'Unauthorized',
      'the API server does not know you (401 Unauthorized)',
      'Log in again; kubectl auth whoami tells who you are to it.',
    );
  if (status === 429 || status === 503)
    return new ApiError(
      status,
      reason ?? 'Busy',
      `the API server is busy (${status}): ${said}`,
      'Try again in a while.',
    );
  if (reason === undefined)
    return new ApiError(
      status,
      'Unknown',
      `${what} was answered ${status}: ${said}`,
      'The answer is not from Kubernetes: is a proxy or a login page in between?',
    );
  return new ApiError(status, reason, `from the API server (${reason}): ${said}`, remedyOf(status));
}

/** Of a page made for a browser, its title is what it says. */
function wordsOf(body: string): string {
  const title = /<title[^>]*>([^<]*)/i.exec(body)?.[1]?.trim();
  const first = body.trim().split('\n')[0]?.slice(0, 200) ?? '';
  return first.startsWith('<') ? `a web page${title ? `, ${JSON.stringify(title.slice(0, 200))}` : ''}` : first;
}

function remedyOf(status: number): string | undefined {
  return status === 403
    ? 'docs/rbac.md lists the rights a run needs; kubectl trace-svc doctor checks them.'
    : undefined;
}

function readStatus(body: string): { message?: string; reason?: string } {
  try {
    const { kind, message, reason } = JSON.parse(body) as Record<string, unknown>;
    if (kind !== 'Status') return {};
    return {
      reason: typeof reason === 'string' ? reason : 'Unknown',
      ...(typeof message === 'string' ? { message } : {}),
    };
  } catch {
    return {};
  }
}

const WHY: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name could not be looked up',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no network to it',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
};

/** No answer at all. */
export function networkError(error: NodeJS.ErrnoException, server: string, timeoutMs: number): TraceError {
  const code = error.code ?? '';
  if (code === 'ABORT') return new TraceError('interrupted', 'interrupted');
  if (code === 'ETIMEDOUT')
    return new ApiError(
      0,
      'Timeout',
      `the API server ${server} did not answer within ${timeoutMs / 1000} s`,
      'Is the context the right one, and the network or VPN up? --request-timeout gives it longer.',
      error,
    );
  if (/^CERT_(NOT_YET_VALID|HAS_EXPIRED)$/.test(code))
    return new ApiError(
      0,
      'Certificate',
      `the certificate of ${server} is not valid at this time (${new Date().toISOString()}): ${error.message}`,
      "Is this machine's clock right? If it is, the cluster's certificate has to be renewed.",
      error,
    );
  if (/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|SSL/.test(code))
    return new ApiError(
      0,
      'Certificate',
      `the certificate of ${server} is not accepted: ${error.message}`,
      'The kubeconfig needs the right certificate-authority-data, or the server another name (--tls-server-name).',
      error,
    );
  return new ApiError(
    0,
    'Unreachable',
    `the API server ${server} cannot be reached: ${WHY[code] ?? error.message}`,
    'Is the context the right one, and the cluster, network or VPN up?',
    error,
  );
}
