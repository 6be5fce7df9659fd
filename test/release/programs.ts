/** What a program file says of itself: its format, the processor it is for, and what hangs on it. */

/** System V ABI, ELF header; Mach-O loader.h; Microsoft, "PE Format". */
const ELF: Record<number, string> = { 62: 'amd64', 183: 'arm64' };
const MACH_O: Record<number, string> = { 16777223: 'amd64', 16777228: 'arm64' };
const PE: Record<number, string> = { 34404: 'amd64', 43620: 'arm64' };

/** @returns `linux-amd64` and the like, or what it begins with */
export function pairOfProgram(data: Buffer): string {
  if (data.readUInt32BE(0) === 0x7f454c46) return `linux-${ELF[data.readUInt16LE(18)]}`;
  if (data.readUInt32LE(0) === 0xfeedfacf) return `darwin-${MACH_O[data.readUInt32LE(4)]}`;
  if (data.toString('latin1', 0, 2) === 'MZ') return `windows-${PE[data.readUInt16LE(peHeader(data) + 4)]}`;
  return data.toString('latin1', 0, 16);
}

const peHeader = (data: Buffer): number => data.readUInt32LE(0x3c);

/** The certificate table: where a publisher's signature would be. */
export function peSignature(data: Buffer): { at: number; size: number } {
  const entry = peHeader(data) + 24 + 112 + 4 * 8;
  return { at: data.readUInt32LE(entry), size: data.readUInt32LE(entry + 4) };
}
