/** What each scenario of the lab must show: its exit code and its findings, but for those that only say how it was done. */
export interface Expected {
  code: number;
  findings: string[];
  /** Where kube-proxy's nftables mode differs. */
  nftables?: string[];
}

const ANSWERED = ['ServiceAnswered'];
export const EXPECTED: Record<string, Expected> = {
  healthy: { code: 0, findings: [...ANSWERED, 'PingNotTranslated'], nftables: [...ANSWERED, 'PingRejected'] },
  'api-server': {
    code: 0,
    findings: [...ANSWERED, 'PingNotTranslated', 'Masqueraded'],
    nftables: [...ANSWERED, 'PingRejected', 'Masqueraded'],
  },
  'no-endpoints': {
    code: 3,
    findings: ['NoEndpoints', 'PingNotTranslated'],
    nftables: ['NoEndpoints', 'PingRejected'],
  },
  'wrong-target-port': {
    code: 3,
    findings: ['EndpointRefused', 'PingNotTranslated'],
    nftables: ['EndpointRefused', 'PingRejected'],
  },
  'unexposed-port': {
    code: 3,
    findings: ['PortNotExposed', 'PingNotTranslated'],
    nftables: ['PortNotExposed', 'PingRejected'],
  },
  'session-affinity': {
    code: 0,
    findings: [...ANSWERED, 'PingNotTranslated', 'SessionAffinity'],
    nftables: [...ANSWERED, 'PingRejected', 'SessionAffinity'],
  },
  hairpin: {
    code: 0,
    findings: [...ANSWERED, 'PingNotTranslated', 'Hairpin', 'Masqueraded'],
    nftables: [...ANSWERED, 'PingRejected', 'Hairpin', 'Masqueraded'],
  },
  'network-policy': {
    code: 3,
    findings: ['RejectedByRule', 'PingNotTranslated'],
    nftables: ['RejectedByRule', 'PingRejected'],
  },
  'local-policy': {
    code: 3,
    findings: ['NoLocalEndpoints', 'PingNotTranslated'],
    nftables: ['NoLocalEndpoints', 'PingRejected'],
  },
  'node-port': { code: 0, findings: [...ANSWERED, 'PingAnsweredByNode', 'Masqueraded'] },
  // That the API server kept silent fits what one node sees just as well: both are said.
  'reply-lost': {
    code: 3,
    findings: ['ReplyLost', 'EndpointSilent', 'PingNotTranslated'],
    nftables: ['ReplyLost', 'EndpointSilent', 'PingRejected'],
  },
};
