/**
 * The vocabulary every other file speaks. Types only: no code.
 * Names are the field's own: hook, chain, verdict, conntrack tuple, DNAT, EndpointSlice.
 */

export type * from './model/evidence.ts';
export type * from './model/kube.ts';
export type * from './model/report.ts';
export type * from './model/rules.ts';
export type * from './model/trace.ts';
