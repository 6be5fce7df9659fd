/** The edge: the only file that touches process, and the only one that ends it. */
import { setMaxListeners } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { CommanderError, createProgram, type Handlers, shapeOf } from './commands.ts';
import { EXIT, exitCodeOf, TraceError } from './errors.ts';
import type { Out } from './ports.ts';
import { escapeJson, escapeText } from './render/escape.ts';
import { type Colour, parseExplain, parseLab } from './request.ts';
import type { KubeRequest } from './request-live.ts';
import type { Deps } from './run.ts';
import type { LabDeps } from './run-lab.ts';
import type { LiveDeps } from './run-live.ts';
import { API_VERSION, NAME } from './version.ts';

const BY_SIGNAL: Partial<Record<NodeJS.Signals, number>> = {
  SIGINT: EXIT.interrupted,
  SIGTERM: EXIT.terminated,
  SIGHUP: EXIT.hungUp,
};

async function main(argv: string[]): Promise<number> {
  if (argv[0] === '__complete') return complete(argv.slice(1));
  const abort = new AbortController();
  // Every request of a run listens to it; Node takes more than ten for a leak.
  setMaxListeners(0, abort.signal);
  let signalled = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signalled = BY_SIGNAL[signal] ?? EXIT.terminated;
    abort.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  let code: number = EXIT.answered;
  const program = createProgram(
    createHandlers(abort.signal, result => {
      code = result;
    }),
  );
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    endProgress();
    code = report(error, argv);
  }
  endProgress();
  return signalled !== 0 && code !== EXIT.cleanupIncomplete ? signalled : code;
}

function createHandlers(signal: AbortSignal, ended: (code: number) => void): Handlers {
  return {
    async live(words, flags) {
      const { parseLive } = await import('./request-live.ts');
      const request = parseLive(words, flags, process.env);
      const { runLive } = await import('./run-live.ts');
      const deps = await createDeps(request.colour, signal, request.quiet, request.verbose);
      ended(await runLive(request, await createLiveDeps(request.kube, deps, request.verbose)));
    },
    async explain(files, flags) {
      const request = parseExplain(files, flags);
      const { runExplain } = await import('./run.ts');
      ended(await runExplain(request, await createDeps(request.colour, signal, request.quiet)));
    },
    async lab(scenario, flags) {
      const request = parseLab(scenario, flags);
      const { runLabCommand } = await import('./run-lab.ts');
      ended(
        await runLabCommand(request, createLabDeps(await createDeps(request.colour, signal, request.quiet), signal)),
      );
    },
    async doctor(flags) {
      const { parseDoctor } = await import('./request-live.ts');
      const request = parseDoctor(flags, process.env);
      const { runDoctor } = await import('./run-doctor.ts');
      ended(
        await runDoctor(
          request,
          await createLiveDeps(request.kube, await createDeps(request.colour, signal, request.quiet)),
        ),
      );
    },
    completion() {
      process.stdout.write(process.platform === 'win32' ? COMPLETION_CMD : COMPLETION_SH);
    },
    async cleanup(flags) {
      const { parseCleanup } = await import('./request-live.ts');
      const request = parseCleanup(flags, process.env);
      await removeLabs(request.run);
      if (!hasKubeconfig(request.kube)) return ended(EXIT.answered);
      const { runCleanup } = await import('./run-cleanup.ts');
      const deps = await createLiveDeps(request.kube, await createDeps('auto', signal, request.quiet));
      ended(await runCleanup(request, { ...deps, now: () => Date.now() }));
    },
  };
}

/** A person goes on typing after that. */
const COMPLETION_MS = 1500;

/** Called by kubectl_complete-trace_svc. Ends at once, for nothing that is still under way matters. */
async function complete(words: string[]): Promise<number> {
  const signal = AbortSignal.timeout(COMPLETION_MS);
  const { runComplete } = await import('./run-complete.ts');
  const root = shapeOf(createProgram({} as Handlers));
  const text = await runComplete(words, root, {
    signal,
    async open(flags) {
      const { openCluster } = await import('./live/cluster.ts');
      const deps = { env: process.env, interactive: false, quiet: true, pluginTimeoutMs: COMPLETION_MS };
      return openCluster(flags, COMPLETION_MS, deps);
    },
    async names(flags, kind) {
      const { mergeFiles } = await import('./live/kubeconfig-files.ts');
      return [...mergeFiles(flags, process.env)[kind].keys()];
    },
  });
  process.stdout.write(text, () => process.exit(EXIT.answered));
  return EXIT.answered;
}

async function createLiveDeps(
  kube: KubeRequest,
  deps: Deps,
  verbose = false,
): Promise<LiveDeps & { newRunId(): string }> {
  const [{ openCluster }, { notedCluster }, { newRunId }, { default: agentScript }] = await Promise.all([
    import('./live/cluster.ts'),
    import('./live/noted.ts'),
    import('./live/run-id.ts'),
    import('../plugin/node-agent.sh'),
  ]);
  const interactive = isatty(0);
  const opened = openCluster(kube, kube.requestTimeoutMs, { env: process.env, interactive });
  const cluster = verbose ? notedCluster(opened, timed) : opened;
  return { ...deps, cluster, run: newRunId(), newRunId, agentScript, ask };
}

/** Found by its name, kubectl_complete-trace_svc, as kubectl finds the plugin. */
const COMPLETION_SH = '#!/bin/sh\nkubectl-trace_svc __complete "$@"\n';
const COMPLETION_CMD = '@kubectl-trace_svc __complete %*\r\n';

async function ask(question: string): Promise<boolean> {
  if (process.stdin.isTTY !== true)
    throw new TraceError('usage', 'there is no terminal to ask at', 'Leave --interactive out.');
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim());
  } finally {
    lines.close();
  }
}

/** What a lab needs of the machine, loaded only when there is one. */
function createLabDeps(deps: Deps, signal: AbortSignal): LabDeps {
  const root = process.getuid?.() === 0;
  return {
    ...deps,
    // tcpdump, which reads what the legacy tables say, gives up root's rights; in a user namespace it cannot.
    modes: root ? ['legacy', 'nft'] : ['nft', 'nftables'],
    async run(scenario, mode, keep, undo) {
      const [{ runLab }, { missingTools }, { setEnvironment }, { newRunId }, { default: agent }] = await Promise.all([
        import('./lab/lab.ts'),
        import('./lab/tools.ts'),
        import('./live/process.ts'),
        import('./live/run-id.ts'),
        import('../plugin/node-agent.sh'),
      ]);
      setEnvironment(process.env);
      if (process.platform !== 'linux')
        throw new TraceError('refused', `the lab needs Linux's network namespaces; this is ${process.platform}`);
      const missing = missingTools(mode, process.env.PATH ?? '');
      if (missing.tools.length > 0)
        throw new TraceError(
          'refused',
          `the lab in mode ${mode} needs ${missing.tools.join(', ')}`,
          `On Debian or Ubuntu: apt-get install ${missing.packages.join(' ')}`,
        );
      return runLab(
        { run: newRunId(), scenario, mode, keep, root, node: process.execPath, agent },
        undo,
        deps.out,
        signal,
      );
    },
    recorded: scenario =>
      deps.files.read(fileURLToPath(new URL(`../plugin/recorded/${scenario}.json.gz`, import.meta.url))),
  };
}

/** Where there is no cluster to look at, a kept lab is all there can be. */
function hasKubeconfig(kube: KubeRequest): boolean {
  const { KUBECONFIG, HOME, KUBERNETES_SERVICE_HOST } = process.env;
  const named = [kube.kubeconfig, kube.server, KUBECONFIG, KUBERNETES_SERVICE_HOST].some(Boolean);
  return named || existsSync(join(HOME ?? '', '.kube', 'config'));
}

async function removeLabs(run: string | undefined): Promise<void> {
  if (process.platform !== 'linux') return;
  const { findLabs } = await import('./lab/strays.ts');
  const labs = findLabs(run);
  for (const lab of labs) {
    process.kill(lab.pid, 'SIGKILL');
    process.stdout.write(`removed lab ${lab.run}\n`);
  }
  if (labs.length === 0) process.stdout.write('nothing of ours is left on this machine\n');
}

async function createDeps(colour: Colour, signal: AbortSignal, quiet: boolean, verbose = false): Promise<Deps> {
  const { createFiles } = await import('./live/files.ts');
  return {
    files: createFiles(() => process.stdin),
    out: await createOut(quiet, verbose),
    terminal: () => ({
      colour: wantsColour(colour),
      width: process.stdout.isTTY ? Math.max(60, process.stdout.columns || 80) : 80,
    }),
    signal,
  };
}

/** A spinner where a person looks on; plain lines elsewhere, and on a terminal that claims to have no columns (ora would hang). */
async function createOut(quiet: boolean, verbose: boolean): Promise<Out> {
  const result = (text: string) => void process.stdout.write(text);
  if (quiet) return { result, say() {}, step() {} };
  if (verbose || !process.stderr.isTTY || !process.stderr.columns || process.env.TERM === 'dumb') {
    return { result, say, step: verbose ? timed : say };
  }
  return createSpinner(result);
}

/** A line with the seconds since the program began. */
function timed(text: string): void {
  say(`${process.uptime().toFixed(2)} s  ${text}`);
}

/** Whatever is said next, the spinner is gone by then. */
let endProgress = () => {};

async function createSpinner(result: (text: string) => void): Promise<Out> {
  const { default: ora } = await import('ora');
  const spinner = ora({ stream: process.stderr, discardStdin: false });
  const aside = (write: (text: string) => void) => (text: string) => {
    spinner.stop();
    write(text);
  };
  endProgress = () => spinner.stop();
  return { result: aside(result), say: aside(say), step: text => void spinner.start(escapeText(text)) };
}

/** --color, then NO_COLOR (no-color.org), then FORCE_COLOR, then whether a person is looking. */
function wantsColour(colour: Colour): boolean {
  if (colour !== 'auto') return colour === 'always';
  if (process.env.NO_COLOR) return false;
  const forced = process.env.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return process.stdout.isTTY === true && process.env.TERM !== 'dumb';
}

/** One line that says what failed, one that says what to do; and where a document was asked for, a document. */
function report(error: unknown, argv: string[]): number {
  if (error instanceof CommanderError) return reportUsage(error);
  const known = error instanceof TraceError ? error : undefined;
  const kind = known?.kind ?? 'internal';
  const message = known?.message ?? (error instanceof Error ? error.message : String(error));
  const remedy = known
    ? known.remedy
    : 'This is a fault of the program; please report it, with the command that led to it.';
  say(kind === 'interrupted' ? 'interrupted; cleaned up' : `error: ${message}`);
  if (remedy !== undefined) say(`  ${remedy}`);
  if (!known && process.env.KUBECTL_TRACE_SVC_DEBUG && error instanceof Error) say(error.stack ?? '');
  if (wantsDocument(argv))
    process.stdout.write(`${escapeJson(JSON.stringify(errorDocument(kind, message, remedy), undefined, 2))}\n`);
  return exitCodeOf(kind);
}

/** JSON is YAML as well. */
function wantsDocument(argv: string[]): boolean {
  return argv.some(
    (word, i) =>
      /^(-o|--output)(=)?(json|yaml)$/.test(word) ||
      (/^(-o|--output)$/.test(word) && /^(json|yaml)$/.test(argv[i + 1] ?? '')),
  );
}

function errorDocument(kind: string, message: string, remedy: string | undefined) {
  return {
    apiVersion: API_VERSION,
    kind: 'Error',
    error: { kind, message, ...(remedy === undefined ? {} : { remedy }) },
  };
}

function reportUsage(error: CommanderError): number {
  if (error.exitCode === 0) return EXIT.answered;
  say(error.message.replace(/\n/g, ' '));
  say(`  ${NAME} --help tells what there is.`);
  return EXIT.usage;
}

function say(text: string): void {
  process.stderr.write(`${escapeText(text)}\n`);
}

/** A reader that has seen enough (`| head`) closes the pipe; that is no error of ours, and nobody is left to tell. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(141);
  throw error;
});
process.stderr.on('error', () => {});

main(process.argv.slice(2)).then(code => {
  process.exitCode = code;
});
