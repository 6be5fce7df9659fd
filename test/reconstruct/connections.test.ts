import { describe, expect, test } from 'vitest';
import type { Tuple } from '../../src/model.ts';
import { type Assigned, ConnectionTable, isError } from '../../src/reconstruct/connections.ts';
import { type Fields, headerOf } from './packets.ts';

const CLUSTER_IP = '10.96.0.10';
const POD = '10.244.1.5';
const ENDPOINT = { dst: '10.244.2.9', dpt: 8080 };

function table(servers: string[] = []): ConnectionTable {
  return new ConnectionTable(address => servers.includes(address));
}

/** A packet with the addresses it had on its way, the first one being its own. */
function see(connections: ConnectionTable, fields: Fields, ...later: Fields[]): Assigned {
  const header = headerOf(fields);
  const tuples: Tuple[] = [header, ...later.map(more => headerOf({ ...fields, ...more }))].map(h => h.tuple);
  return connections.assign({ header, tuples });
}

describe('whose packet is it', () => {
  test('a request, its translated reply, and the acknowledgement are one connection', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT);
    const reply = see(all, { src: '10.244.2.9', spt: 8080, dst: POD, dpt: 40000, flags: 'ACK SYN', seq: 5, ack: 1001 });
    const ack = see(all, { flags: 'ACK', seq: 1001, ack: 6 });
    expect(syn).toMatchObject({ direction: 'request' });
    expect(reply).toEqual({ connection: syn.connection, direction: 'reply' });
    expect(ack).toEqual({ connection: syn.connection, direction: 'request' });
    expect(all.all).toHaveLength(1);
    expect(syn.connection.original).toEqual({ src: POD, sport: 40000, dst: CLUSTER_IP, dport: 80 });
  });

  test('a reply that is seen with its translation already undone', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT);
    expect(see(all, { src: CLUSTER_IP, spt: 80, dst: POD, dpt: 40000, flags: 'ACK SYN' })).toEqual({
      connection: syn.connection,
      direction: 'reply',
    });
  });

  test('a masqueraded connection is found by the address behind the masquerade', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT, { ...ENDPOINT, src: '172.30.0.11', spt: 1025 });
    const reply = see(all, { src: '10.244.2.9', spt: 8080, dst: '172.30.0.11', dpt: 1025, flags: 'ACK SYN' });
    expect(reply).toEqual({ connection: syn.connection, direction: 'reply' });
  });

  test('a reply that comes first is a reply all the same: it says so itself', () => {
    const all = table();
    const reply = see(all, { src: '10.244.2.9', spt: 8080, dst: POD, dpt: 40000, flags: 'ACK SYN' });
    expect(reply.direction).toBe('reply');
    expect(reply.connection.original).toEqual({ src: POD, sport: 40000, dst: '10.244.2.9', dport: 8080 });
  });

  test('who is asked is told by the addresses Services have, where the packet itself does not tell', () => {
    const all = table([CLUSTER_IP]);
    expect(see(all, { flags: 'ACK', seq: 5, ack: 5 }).direction).toBe('request');
    const back = see(table([CLUSTER_IP]), { src: CLUSTER_IP, spt: 80, dst: POD, dpt: 40000, flags: 'ACK', ack: 5 });
    expect(back.direction).toBe('reply');
    expect(back.connection.original).toEqual({ src: POD, sport: 40000, dst: CLUSTER_IP, dport: 80 });
  });
});

describe('ports that are used again', () => {
  test('a retransmitted SYN is the same connection', () => {
    const all = table();
    const syn = see(all, { seq: 1 });
    expect(see(all, { seq: 1, id: 101 }).connection).toBe(syn.connection);
  });

  test('a SYN with another sequence number is another connection', () => {
    const all = table();
    const syn = see(all, { seq: 1 });
    expect(see(all, { seq: 2, id: 101 }).connection).not.toBe(syn.connection);
    expect(all.all).toHaveLength(2);
  });

  test('later packets belong to the newer one', () => {
    const all = table();
    see(all, { seq: 1 });
    const second = see(all, { seq: 2, id: 101 });
    expect(see(all, { flags: 'ACK', seq: 3, ack: 9, id: 102 }).connection).toBe(second.connection);
  });
});

describe('echoes', () => {
  test('are told apart by their id', () => {
    const all = table();
    const one = see(all, { proto: 'ICMP', echo: 1 });
    const other = see(all, { proto: 'ICMP', echo: 2 });
    expect(other.connection).not.toBe(one.connection);
    expect(see(all, { proto: 'ICMP', echo: 1, echoSeq: 2 }).connection).toBe(one.connection);
  });

  test('a reply goes with the request of its id', () => {
    const all = table();
    const one = see(all, { proto: 'ICMP', echo: 1 });
    expect(see(all, { proto: 'ICMP', type: 0, echo: 1, src: CLUSTER_IP, dst: POD })).toEqual({
      connection: one.connection,
      direction: 'reply',
    });
  });
});

describe('ICMP errors', () => {
  test('answer the sender of the packet they quote, whoever sends them', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT);
    const error = see(all, { proto: 'ICMP', type: 3, code: 3, src: '10.244.1.1', dst: POD, quotes: {} });
    expect(error).toEqual({ connection: syn.connection, direction: 'reply' });
  });

  test('also where they quote it as it was behind its translation', () => {
    const all = table();
    const udp = see(all, { proto: 'UDP', dpt: 53 }, { dst: '10.244.2.9', dpt: 5353 });
    const quotes: Fields = { proto: 'UDP', dst: '10.244.2.9', dpt: 5353 };
    expect(see(all, { proto: 'ICMP', type: 3, code: 3, src: '10.244.2.9', dst: POD, quotes })).toEqual({
      connection: udp.connection,
      direction: 'reply',
    });
  });

  test('about a reply go to who sent the reply', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT);
    const reply: Fields = {
      src: '10.244.2.9',
      spt: 8080,
      dst: POD,
      dpt: 40000,
      flags: 'ACK SYN',
      seq: 5,
      ack: 1001,
      id: 9,
    };
    see(all, reply);
    const error = see(all, { proto: 'ICMP', type: 3, code: 13, src: '10.244.1.1', dst: '10.244.2.9', quotes: reply });
    expect(error).toEqual({ connection: syn.connection, direction: 'request' });
  });

  test('do not teach the table their own addresses', () => {
    const all = table();
    const syn = see(all, {}, ENDPOINT);
    see(all, { proto: 'ICMP', type: 3, code: 3, src: '10.244.1.1', dst: POD, quotes: {} });
    expect(syn.connection.seen.map(seen => seen.tuple.src)).not.toContain('10.244.1.1');
  });

  test.each<[boolean, Fields]>([
    [false, { proto: 'ICMP' }],
    [false, { proto: 'ICMP', type: 0 }],
    [true, { proto: 'ICMP', type: 3, code: 3, quotes: {} }],
    [true, { proto: 'ICMP', type: 11, code: 0, quotes: {} }],
    [false, {}],
  ])('isError is %s', (is, fields) => {
    expect(isError(headerOf(fields))).toBe(is);
  });
});

describe('a pod that asks itself', () => {
  test('who sent which packet is told by its flags', () => {
    const all = table();
    const there: Fields = { src: POD, spt: 40000, dst: POD, dpt: 8080 };
    const syn = see(all, {}, { dst: POD, dpt: 8080 });
    expect(syn.connection.hairpin).toBe(true);
    const back = see(all, { src: POD, spt: 8080, dst: POD, dpt: 40000, flags: 'ACK SYN', seq: 5, ack: 1001 });
    expect(back).toEqual({ connection: syn.connection, direction: 'reply' });
    expect(see(all, { ...there, flags: 'ACK', seq: 1001, ack: 6 })).toEqual({
      connection: syn.connection,
      direction: 'request',
    });
  });
});
