/** The last frame of an exec session: a Kubernetes Status -> exit code, or why there is none (client-go remotecommand v4). */
import { TraceError } from '../errors.ts';

interface Status {
  status?: string;
  reason?: string;
  message?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

export function readStatus(text: string): number | TraceError {
  const status = statusOf(text);
  if (!status) return new TraceError('api', `the command's status cannot be read: ${text.slice(0, 200)}`);
  if (status.status === 'Success') return 0;
  const code = causesOf(status).find(cause => cause?.reason === 'ExitCode')?.message;
  if (status.reason === 'NonZeroExitCode' && code !== undefined && Number.isInteger(Number(code))) return Number(code);
  // A runtime that does not find the program says so in its own words; a shell would end with 127.
  if (/executable file not found|no such file or directory/i.test(String(status.message))) return 127;
  return new TraceError('api', `the command could not be run: ${status.message ?? status.reason ?? 'no reason given'}`);
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
