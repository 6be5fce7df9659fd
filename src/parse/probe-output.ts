/**
 * What curl and ping printed -> probes. Output, error output, exit code and the command itself may come in one text or in
 * several: pieces of one run are put together. curl(1) "EXIT CODES"; ping of iputils and of busybox.
 */
import { canonicalAddress, hostPort, parseHostPort } from '../ip.ts';
import type { Probe, ProbeOutcome } from '../model.ts';
import { own } from './strings.ts';

/** A piece of what a probe left behind. */
interface Piece {
  kind: 'curl' | 'ping' | 'code';
  target?: string;
  outcome?: ProbeOutcome;
  detail?: string;
  httpStatus?: number;
  sourcePort?: number;
  durationMs?: number;
  from?: string;
  /** A new run begins here. */
  starts?: boolean;
}

/** Probes in the order of the texts; empty where nothing in them is curl's or ping's. */
export function parseProbeOutput(texts: string[]): Probe[] {
  const runs: Piece[] = [];
  for (const text of texts)
    for (const line of text.split('\n')) {
      const piece = pieceOf(line.trim());
      if (piece) addPiece(runs, piece);
    }
  return runs.flatMap(probeOf);
}

function addPiece(runs: Piece[], piece: Piece): void {
  const current = runs.at(-1);
  if (piece.kind === 'code') {
    if (current && current.outcome === undefined)
      Object.assign(current, outcomeOfCode(current.kind, Number(piece.detail)));
    return;
  }
  if (
    !current ||
    current.kind !== piece.kind ||
    (piece.starts && current.outcome !== undefined) ||
    contradicts(current, piece)
  )
    runs.push({ ...piece });
  else merge(current, piece);
}

function contradicts(current: Piece, piece: Piece): boolean {
  return current.target !== undefined && piece.target !== undefined && current.target !== piece.target;
}

/** What came first stays, but for an outcome: ping's summary says less than its `From …` line, curl's error more than `000`. */
function merge(current: Piece, piece: Piece): void {
  const better = RANK[piece.outcome ?? 'none'] > RANK[current.outcome ?? 'none'];
  const { outcome, detail, starts: _, ...rest } = piece;
  for (const [key, value] of Object.entries(rest))
    if ((current as unknown as Record<string, unknown>)[key] === undefined) Object.assign(current, { [key]: value });
  if (better && outcome !== undefined) current.outcome = outcome;
  if (detail !== undefined && (better || current.detail === undefined)) current.detail = detail;
}

const RANK: Record<ProbeOutcome | 'none', number> = {
  none: 0,
  unknown: 1,
  error: 2,
  timeout: 3,
  unreachable: 4,
  refused: 5,
  answered: 6,
};

function probeOf(piece: Piece): Probe[] {
  if (piece.kind === 'code' || (piece.outcome === undefined && piece.target === undefined)) return [];
  const probe: Probe = {
    kind: piece.kind,
    target: piece.target ?? '',
    outcome: piece.outcome ?? 'unknown',
    detail: piece.detail ?? '',
  };
  if (piece.httpStatus !== undefined) probe.httpStatus = piece.httpStatus;
  if (piece.sourcePort !== undefined) probe.sourcePort = piece.sourcePort;
  if (piece.durationMs !== undefined) probe.durationMs = piece.durationMs;
  if (piece.from !== undefined) probe.from = piece.from;
  return [probe];
}

function pieceOf(line: string): Piece | undefined {
  if (line === '') return undefined;
  for (const [pattern, read] of LINES) {
    const found = pattern.exec(line);
    if (found) return read(found, line);
  }
  return undefined;
}

type Read = (found: RegExpExecArray, line: string) => Piece | undefined;

const LINES: [RegExp, Read][] = [
  // Three digits alone are an HTTP status (curl -w %{http_code}), fewer an exit code.
  [/^\d{1,2}$/, (_, line) => ({ kind: 'code', detail: line })],
  [/^(\d{3})(?: (\S*):(\d+)(?: (-?\d{1,5}))?)?$/, readWriteOut],
  [/^(?:\S*\/)?curl (?!: )(.*)$/, ([, args = '']) => command('curl', targetOfUrl(args))],
  [/^(?:\S*\/)?ping6? -?(.*)$/, (_, line) => command('ping', targetOfPing(line))],
  [/^curl: \((\d+)\) (.*)$/, readCurlError],
  [
    /^\* +Trying \[?([0-9a-fA-F.:]+?)\]?:(\d+)\.\.\./,
    ([, ip = '', port]) => ({ kind: 'curl', target: hostPort(canonicalAddress(ip) ?? ip, Number(port)) }),
  ],
  [/^< HTTP\/\S+ (\d{3})|^HTTP\/\S+ (\d{3})/, ([, verbose, plain]) => status(verbose ?? plain ?? '')],
  [/^PING (\S+)(?: \(([0-9a-fA-F.:]+)\)| ([0-9a-fA-F.:]+)\()/, readPingHeader],
  [/bytes from ([0-9a-fA-F.:%a-z()\- ]+?):? (?:icmp_)?seq=(\d+).*?(?:time[=<]([\d.]+) ?ms)?$/, readPingReply],
  [/^From (\S+?):? (?:\((\S+)\):? )?icmp_seq=\d+ (.+)$/, readPingError],
  [/^(\d+) packets transmitted, (\d+)(?: packets)? received/, readPingSummary],
  [
    /^ping6?: (.*)$/,
    ([, why = '']) => ({
      kind: 'ping',
      outcome: /unreachable/i.test(why) ? 'unreachable' : 'error',
      detail: own(`ping: ${why}`),
    }),
  ],
];

function command(kind: 'curl' | 'ping', target: string | undefined): Piece {
  return target === undefined ? { kind, starts: true } : { kind, target, starts: true };
}

function targetOfUrl(args: string): string | undefined {
  const [, scheme, host = '', port] = /(?:(https?):\/\/)(\[[^\]]+\]|[^/\s:'"]+)(?::(\d+))?/.exec(args) ?? [];
  const address = parseHostPort(host.replace(/^\[|\]$/g, ''))?.address ?? host;
  return host === ''
    ? undefined
    : hostPort(own(address), port === undefined ? (scheme === 'https' ? 443 : 80) : Number(port));
}

function targetOfPing(line: string): string | undefined {
  const word = line.split(/\s+/).at(-1) ?? '';
  return canonicalAddress(word);
}

/**
 * curl's -w with %{http_code} and, if asked for, %{remote_ip}:%{remote_port} and %{local_port}; 000 means that there was no answer,
 * and a port that is not above 0 that there was no connection.
 */
function readWriteOut([, code = '', ip, port, from]: RegExpExecArray): Piece {
  const piece = status(code);
  if (Number(from) > 0) piece.sourcePort = Number(from);
  const address = ip ? canonicalAddress(ip) : undefined;
  if (address !== undefined) piece.target = hostPort(address, Number(port));
  return piece;
}

function status(code: string): Piece {
  if (code === '000') return { kind: 'curl' };
  return { kind: 'curl', outcome: 'answered', httpStatus: Number(code), detail: `HTTP ${code}` };
}

function readCurlError([, code = '', text = '']: RegExpExecArray): Piece {
  const piece: Piece = {
    kind: 'curl',
    ...outcomeOfCode('curl', Number(code), text),
    detail: own(`curl: (${code}) ${text}`),
  };
  const place = /(?:connect to|to) (\S+) port (\d+)/.exec(text);
  const address = place ? canonicalAddress((place[1] ?? '').replace(/^\[|\]$/g, '')) : undefined;
  if (address !== undefined) piece.target = hostPort(address, Number(place?.[2]));
  const after = /after (\d+) (?:ms|milliseconds)/.exec(text)?.[1];
  if (after !== undefined) piece.durationMs = Number(after);
  return piece;
}

/** From TLS on (35, 60) somebody has answered, whatever came of it. */
const ANSWERED_CODES = new Set([0, 1, 8, 18, 22, 35, 47, 51, 52, 58, 59, 60, 61, 63, 77, 90, 91, 92]);

function outcomeOfCode(kind: string, code: number, text = ''): { outcome: ProbeOutcome; detail?: string } {
  if (kind === 'ping') return code === 0 ? { outcome: 'answered' } : { outcome: code === 1 ? 'timeout' : 'error' };
  if (/no route to host|unreachable/i.test(text)) return { outcome: 'unreachable' };
  if (code === 28 || /timed out/i.test(text)) return { outcome: 'timeout' };
  if (code === 7) return { outcome: 'refused' };
  if (code === 56 || /reset by peer/i.test(text)) return { outcome: 'refused' };
  return { outcome: ANSWERED_CODES.has(code) ? 'answered' : 'error', detail: `curl ended with ${code}` };
}

function readPingHeader([, host = '', inBrackets, bare]: RegExpExecArray): Piece {
  const address = canonicalAddress(inBrackets ?? bare ?? host) ?? host;
  return { kind: 'ping', target: own(address), starts: true };
}

function readPingReply([, from = '', , time]: RegExpExecArray): Piece {
  const address = /([0-9a-fA-F.:]+)\)?$/.exec(from)?.[1] ?? from;
  const piece: Piece = {
    kind: 'ping',
    outcome: 'answered',
    from: own(canonicalAddress(address) ?? address),
    detail: own(`reply from ${address}`),
  };
  if (time !== undefined) piece.durationMs = Number(time);
  return piece;
}

function readPingError([, name = '', address, what = '']: RegExpExecArray): Piece {
  const from = canonicalAddress(address ?? name) ?? name;
  return { kind: 'ping', outcome: 'unreachable', from: own(from), detail: own(`${from}: ${what}`) };
}

function readPingSummary([, sent, received]: RegExpExecArray): Piece {
  if (Number(received) > 0) return { kind: 'ping', outcome: 'answered' };
  return { kind: 'ping', outcome: 'timeout', detail: `${sent} sent, none answered` };
}
