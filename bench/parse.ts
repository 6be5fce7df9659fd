/** Parses and reconstructs one log file, as `explain` does, and prints what that cost: one line of JSON. */
import process from 'node:process';
import { createAnalysis } from '../src/analyse.ts';
import { emptyCapture } from '../src/capture.ts';
import { emptyObjects } from '../src/kube/objects.ts';
import { createFiles } from '../src/live/files.ts';

const [log = '', rules = ''] = process.argv.slice(2);
const files = createFiles(() => process.stdin);
const capture = emptyCapture('files', emptyObjects());
capture.rules.push({ name: 'iptables-save', text: await files.read(rules) });
const started = process.cpuUsage();
const analysis = createAnalysis(capture);
const input = analysis.input('kern.log');
for await (const chunk of files.chunks(log)) input.push(chunk);
input.end();
analysis.reconstruct();
const { user, system } = process.cpuUsage(started);
const result = {
  events: analysis.events(),
  seconds: (user + system) / 1e6,
  peakMB: process.resourceUsage().maxRSS / 1024,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
