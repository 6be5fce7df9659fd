/**
 * What `npm run lab`, `npm test` and the other commands need before they can start: packages, the bundle, the machine's tools.
 * Only Node's own modules, for nothing else is there yet. Says in one line what it does, and what it cannot do.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';

/** Tool -> Debian's package of it. */
const LAB_TOOLS = {
  unshare: 'util-linux',
  ip: 'iproute2',
  'iptables-legacy': 'iptables',
  'iptables-nft': 'iptables',
  nft: 'nftables',
  tcpdump: 'tcpdump',
  conntrack: 'conntrack',
  curl: 'curl',
  ping: 'iputils-ping',
};
const TOOLS = {
  lab: LAB_TOOLS,
  test: LAB_TOOLS,
  browser: { chromium: 'chromium' },
  bench: { mawk: 'mawk' },
  release: { unshare: 'util-linux' },
  build: {},
};

const purpose = process.argv[2] ?? 'build';

nodeIsNew();
installPackages();
buildBundle();
installTools(TOOLS[purpose] ?? {});

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

function run(command, args, options = {}) {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', ...options });
}

function nodeIsNew() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) fail(`this is Node ${process.versions.node}; version 20 or newer is needed`);
}

/** npm notes in node_modules what it installed from which lock file. */
function installPackages() {
  const mark = 'node_modules/.package-lock.json';
  if (existsSync(mark) && statSync(mark).mtimeMs >= statSync('package-lock.json').mtimeMs) return;
  say('npm ci');
  // `npm run -s` is inherited as silence; what went wrong must be heard nevertheless.
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const done = run('npm', args, { shell: process.platform === 'win32' });
  if (done.status !== 0)
    fail(`npm ci did not work: ${firstLines(done.stderr) || done.error?.message}\nIs the network there?`);
}

function buildBundle() {
  const done = run(process.execPath, ['.ci/build.mjs']);
  if (done.status !== 0) fail(`the build did not work: ${lastLines(done.stderr)}`);
}

function installTools(tools) {
  if (process.platform !== 'linux') return;
  const missing = Object.keys(tools).filter(tool => !onPath(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(tool => tools[tool]))];
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (process.getuid() !== 0 || !onPath('apt-get')) {
    say(`missing: ${missing.join(', ')}. On Debian or Ubuntu, as root: ${command}`);
    return;
  }
  say(command);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => run('apt-get', command.split(' ').slice(1), { env });
  if (install().status === 0) return;
  run('apt-get', ['update'], { env });
  const again = install();
  if (again.status !== 0) say(`that did not work: ${lastLines(again.stderr)}`);
}

function onPath(tool) {
  return `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`.split(':').some(folder => {
    try {
      accessSync(`${folder}/${tool}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** npm says first what is wrong, and then at length how it may be called. */
function firstLines(text) {
  return (text ?? '').trim().split('\n').slice(0, 6).join('\n');
}

function lastLines(text) {
  return (text ?? '').trim().split('\n').slice(-3).join('\n');
}
