/** Every failure the program tells a person: what failed, and what to do. The edge turns the kind into an exit code. */

export type ErrorKind = 'usage' | 'internal' | 'refused' | 'api' | 'interrupted' | 'cleanup';

/** Documented in docs/exit-codes.md; stable. */
export const EXIT = {
  answered: 0,
  error: 1,
  usage: 2,
  notAnswered: 3,
  refused: 4,
  cleanupIncomplete: 5,
  incomplete: 6,
  hungUp: 129,
  interrupted: 130,
  terminated: 143,
} as const;

export class TraceError extends Error {
  readonly kind: ErrorKind;
  readonly remedy: string | undefined;
  constructor(kind: ErrorKind, message: string, remedy?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TraceError';
    this.kind = kind;
    this.remedy = remedy;
  }
}

/** What the API server answered where it did not do what was asked. */
export class ApiError extends TraceError {
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** Kubernetes' own word: NotFound, Forbidden, AlreadyExists, … */
  readonly reason: string;
  constructor(status: number, reason: string, message: string, remedy?: string, cause?: unknown) {
    super('api', message, remedy, cause);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
  }
}

/** Did the API server answer with one of these statuses? Also where another error tells it in better words. */
export function hasStatus(error: unknown, ...statuses: number[]): boolean {
  const answer = error instanceof TraceError && error.cause instanceof ApiError ? error.cause : error;
  return answer instanceof ApiError && statuses.includes(answer.status);
}

export function exitCodeOf(kind: ErrorKind): number {
  switch (kind) {
    case 'usage':
      return EXIT.usage;
    case 'refused':
      return EXIT.refused;
    case 'interrupted':
      return EXIT.interrupted;
    case 'cleanup':
      return EXIT.cleanupIncomplete;
    default:
      return EXIT.error;
  }
}
