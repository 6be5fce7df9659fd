/** Of a dual-stack Service, the half that was asked: the family is that of the pod that sent. */
import { familyOf } from '../ip.ts';
import type { Report } from '../model.ts';

/** @param source the sender's address; undefined: nobody knows, so all count */
export function wasAsked(address: string, source: string | undefined): boolean {
  return source === undefined || familyOf(address) === familyOf(source);
}

export function readyEndpoints({ endpoints }: NonNullable<Report['target']>, source: string | undefined): number {
  return endpoints.filter(({ ready, address }) => ready && wasAsked(address, source)).length;
}
