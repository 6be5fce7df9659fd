/** What a text looks like, for the message that says it is the wrong one. */

const LOOKS: [RegExp, string][] = [
  [/"kind":\s*"Capture"/, 'it looks like a saved capture'],
  [/"kind":\s*"(List|Service|EndpointSlice|Pod|Node)\w*"/, 'it looks like Kubernetes objects (--objects)'],
  [/^\*(nat|filter|mangle|raw)$/m, 'it looks like iptables-save (--rules)'],
  [/^table (ip|ip6|inet) \S+ \{/m, 'it looks like nft list ruleset (--rules)'],
  [/\bTRACE: \S+:\S+:(rule|return|policy):\d+/, 'it looks like a kernel log with TRACE lines'],
  [/^trace id [0-9a-f]+ /m, 'it looks like nft monitor trace'],
  [/^(create|add) \S+ \S+/m, 'it looks like ipset save (--rules)'],
  [/\bsrc=\S+ dst=\S+ .*\bsrc=\S+ dst=/, 'it looks like conntrack output (--conntrack)'],
  [/^PING |^curl: \(\d+\)|^\d{3} [\d.:[\]a-f]*:\d+$/m, 'it looks like the output of curl or ping (--probe)'],
  [/\bIN=\S* OUT=\S* .*SRC=/, 'it looks like lines of a LOG rule, not of TRACE'],
  [/^\s*[{[]/, 'it looks like JSON'],
];

export function whatIsIt(text: string): string {
  const head = text.slice(0, 200_000);
  return LOOKS.find(([pattern]) => pattern.test(head))?.[1] ?? 'it looks like none of the formats known';
}
