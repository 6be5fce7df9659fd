/** The real captures under test/captures, as data. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../captures/', import.meta.url));
const MODES = ['legacy', 'nft', 'nftables'];

export function capture(path: string): string {
  return readFileSync(ROOT + path, 'utf8');
}

/** Every capture's file of this name: `legacy/web-curl/kmsg.txt` and its sisters. */
export function captures(file: string): { name: string; text: string }[] {
  return MODES.flatMap(mode =>
    readdirSync(ROOT + mode)
      .map(scenario => `${mode}/${scenario}/${file}`)
      .filter(path => existsSync(ROOT + path))
      .map(path => ({ name: path, text: capture(path) })),
  );
}

/** The lines of all these files, each text once, empty ones left out. */
export function captureLines(file: string): string[] {
  return [...new Set(captures(file).flatMap(({ text }) => text.split('\n')))].filter(line => line.trim() !== '');
}

/** Some of many, spread evenly: enough variety for a property test without reading everything again and again. */
export function some<T>(all: readonly T[], count: number): T[] {
  const step = Math.max(1, all.length / count);
  return Array.from({ length: Math.min(count, all.length) }, (_, i) => all[Math.floor(i * step)] as T);
}
