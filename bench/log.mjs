/** A long kernel log, made from the lines of real captures: other ports, ids and sequence numbers in each round. */

import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';

const folder = new URL('../test/captures/legacy/', import.meta.url);
const SOURCE = ['web-curl', 'web-ping'].flatMap(name =>
  readFileSync(new URL(`${name}/kmsg.txt`, folder), 'utf8')
    .trimEnd()
    .split('\n'),
);

/** @returns the number of lines written, at least `lines` */
export async function writeLog(path, lines) {
  const out = createWriteStream(path);
  let count = 0;
  for (let round = 0; count < lines; round++) {
    if (!out.write(`${SOURCE.map(line => varied(line, round, count++)).join('\n')}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
  return count;
}

function varied(line, round, index) {
  return line
    .replace(/^\[ *\d+\.\d+\]/, `[${(100 + index * 3e-6).toFixed(6).padStart(12)}]`)
    .replace(/ ID=(\d+)/, (whole, id) => (id === '0' ? whole : ` ID=${(Number(id) + round * 7) % 65_536}`))
    .replace(/([SD]PT)=(\d{5})\b/, (_, key, port) => `${key}=${1024 + ((Number(port) + round) % 60_000)}`)
    .replace(
      /SEQ=(\d+) ACK=(\d+)/,
      (_, seq, ack) => `SEQ=${moved(seq, round)} ACK=${ack === '0' ? 0 : moved(ack, round)}`,
    );
}

function moved(number, round) {
  return (Number(number) + round * 977) % 4_294_967_296;
}
