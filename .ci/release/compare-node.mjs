/** Holds the Node of each platform against what its own project published: not only the packages' maker has to be believed. Needs nodejs.org. */
import { createHash } from 'node:crypto';
import { NODE_VERSION, PLATFORMS, pairOf } from './platforms.mjs';
import { readTarGz } from './tar.mjs';

const BASE = `https://nodejs.org/dist/v${NODE_VERSION}`;

const sums = new Map(
  (await fetched('SHASUMS256.txt'))
    .toString()
    .trim()
    .split('\n')
    .map(line => line.split(/\s+/).reverse()),
);
for (const platform of PLATFORMS) {
  const found = sha256(await officialProgram(platform));
  if (found !== platform.sha256) throw new Error(`${pairOf(platform)}: its project published ${found}`);
  process.stdout.write(`${pairOf(platform)}: as published\n`);
}

/** For Windows the bare program is published; elsewhere it lies in an archive. */
async function officialProgram({ os, arch }) {
  const machine = `${os === 'windows' ? 'win' : os}-${arch === 'amd64' ? 'x64' : arch}`;
  if (os === 'windows') return checked(`${machine}/node.exe`);
  const name = `node-v${NODE_VERSION}-${machine}`;
  for (const { path, data } of readTarGz(await checked(`${name}.tar.gz`))) if (path === `${name}/bin/node`) return data;
  throw new Error(`${name}.tar.gz has no bin/node`);
}

async function checked(name) {
  const data = await fetched(name);
  if (sha256(data) !== sums.get(name)) throw new Error(`${BASE}/${name} is not what SHASUMS256.txt says`);
  return data;
}

async function fetched(name) {
  const response = await fetch(`${BASE}/${name}`);
  if (!response.ok) throw new Error(`${BASE}/${name}: ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}
