/** The last frame of an exec session: a Kubernetes Status -> exit code, or why there is none (client-go remotecommand v4). */
import { TraceError } from '../errors.ts';

interface Status {
  status?: string;
  reason?: string;
  message?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

/** runc's words, and crun's. Other files that are not there are another matter: those of a container that is just being removed. */
const NOT_FOUND = /executable file (?:`[^`]*` )?not found|exec: "[^"]*": (?:stat \S+: )?no such file or directory/i;

/** A program with a file capability the container does not have (ping, of some images) is not started at all. */
const NOT_ALLOWED =
  /exec: "[^"]*": (?:operation not permitted|permission denied)|exec .*: (?:operation not permitted|permission denied)/i;

/** @param what the command, as an error names it */
export function readStatus(text: string, what = 'the command'): number | TraceError {
  const status = statusOf(text);
  if (!status) return new TraceError('api', `the status of ${what} cannot be read: ${text.slice(0, 200)}`);
  if (status.status === 'Success') return 0;
  const code = causesOf(status).find(cause => cause?.reason === 'ExitCode')?.message;
  if (status.reason === 'NonZeroExitCode' && code !== undefined && Number.isInteger(Number(code))) return Number(code);
  // A runtime that does not find the program says so in its own words; a shell would end with 127.
  if (NOT_FOUND.test(String(status.message))) return 127;
  if (NOT_ALLOWED.test(String(status.message))) return 126;
  return new TraceError(
    'api',
    `${what} could not be run: ${status.message ?? status.reason ?? 'no reason given'}`,
    'Was its container ended, or its pod deleted? Run it again.',
  );
}

function statusOf(text: string): Status | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function causesOf({ details }: Status): { reason?: string; message?: string }[] {
  return Array.isArray(details?.causes) ? details.causes : [];
}
