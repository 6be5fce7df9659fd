/** The edge: the only file that touches process, and the only one that ends it. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { EXIT, exitCodeOf, TraceError } from './errors.ts';
import { createFiles } from './live/files.ts';
import { escapeText } from './render/escape.ts';
import { createStyle } from './render/style.ts';
import { type Colour, type ExplainFlags, type LabFlags, parseExplain, parseLab } from './request.ts';
import type { Deps } from './run.ts';
import type { LabDeps } from './run-lab.ts';
import { NAME, VERSION } from './version.ts';

const BY_SIGNAL: Partial<Record<NodeJS.Signals, number>> = {
  SIGINT: EXIT.interrupted,
  SIGTERM: EXIT.terminated,
  SIGHUP: EXIT.hungUp,
};

async function main(argv: string[]): Promise<number> {
  const abort = new AbortController();
  let signalled = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signalled = BY_SIGNAL[signal] ?? EXIT.terminated;
    abort.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  let code: number = EXIT.answered;
  const program = createProgram(abort.signal, result => {
    code = result;
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    code = report(error);
  }
  return signalled !== 0 && code !== EXIT.cleanupIncomplete ? signalled : code;
}

function createProgram(signal: AbortSignal, ended: (code: number) => void): Command {
  const program = new Command(NAME)
    .description("Shows what really happened to a packet sent to a Kubernetes Service, from the kernel's own trace.")
    .version(VERSION)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .showSuggestionAfterError(true);
  program
    .command('explain')
    .description(
      'explain a trace that was taken before: kernel log, nft monitor trace, xtables-monitor, or a saved capture',
    )
    .argument('[FILE...]', 'the trace; - is standard input')
    .option(
      '--rules <FILE>',
      'rules of that moment: iptables-save, nft -a list ruleset, ipset save, ipvsadm -Ln (repeatable)',
      collect,
    )
    .option('--objects <FILE>', 'kubectl get services,endpointslices,pods,nodes -A -o json (repeatable)', collect)
    .option('--conntrack <FILE>', 'conntrack -L or -E (repeatable)', collect)
    .option('--probe <FILE>', 'what curl or ping printed (repeatable)', collect)
    .option('--pod-ip <IP>', 'only packets from or to this pod (repeatable)', collect)
    .option('--follow', 'go on as the file grows, also when it is rotated')
    .addHelpText('after', EXPLAIN_EXAMPLES)
    .configureHelp({ helpWidth: 100 });
  program
    .command('lab')
    .description('the same trace against a Service made of network namespaces on this machine: no cluster needed')
    .argument('[SCENARIO]', 'healthy if not given; see --list')
    .option('--mode <MODE>', 'who writes the rules, and how: legacy, nft, mixed or nftables')
    .option('--list', 'list the scenarios')
    .option('--keep', 'leave the namespaces there afterwards, to look around')
    .option('--recorded', 'replay a recorded run instead')
    .addHelpText('after', LAB_EXAMPLES);
  for (const command of program.commands) addOutputOptions(command);
  const explain = program.commands.find(command => command.name() === 'explain') as Command;
  explain.action(async (files: string[], flags: ExplainFlags) => {
    const request = parseExplain(files, flags);
    const { runExplain } = await import('./run.ts');
    ended(await runExplain(request, createDeps(request.colour, signal, request.quiet)));
  });
  const lab = program.commands.find(command => command.name() === 'lab') as Command;
  lab.action(async (scenario: string | undefined, flags: LabFlags) => {
    const request = parseLab(scenario, flags);
    const { runLabCommand } = await import('./run-lab.ts');
    ended(await runLabCommand(request, createLabDeps(createDeps(request.colour, signal, request.quiet), signal)));
  });
  program
    .command('cleanup')
    .description('remove what a run or a kept lab left behind')
    .action(async () => ended(await cleanup()));
  return program;
}

/** What a lab needs of the machine, loaded only when there is one. */
function createLabDeps(deps: Deps, signal: AbortSignal): LabDeps {
  const root = process.getuid?.() === 0;
  return {
    ...deps,
    // tcpdump, which reads what the legacy tables say, gives up root's rights; in a user namespace it cannot.
    modes: root ? ['legacy', 'nft'] : ['nft', 'nftables'],
    async run(scenario, mode, keep, undo) {
      const [{ runLab }, { missingTools }, { setEnvironment }, { default: agent }] = await Promise.all([
        import('./lab/lab.ts'),
        import('./lab/tools.ts'),
        import('./live/process.ts'),
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

/** Lower-case letters and digits: fit for a table's name, a label and a comment. */
function newRunId(): string {
  return randomBytes(5).toString('hex').slice(0, 8);
}

async function cleanup(): Promise<number> {
  if (process.platform !== 'linux') return EXIT.answered;
  const { findLabs } = await import('./lab/strays.ts');
  const labs = findLabs();
  for (const { pid, run } of labs) {
    process.kill(pid, 'SIGKILL');
    process.stdout.write(`removed lab ${run}\n`);
  }
  if (labs.length === 0) process.stdout.write('nothing of ours is left on this machine\n');
  return EXIT.answered;
}

function addOutputOptions(command: Command): void {
  command
    .option('-o, --output <FORMAT>', 'tree, wide, json, yaml or markdown', 'tree')
    .option('--save <FILE>', 'write everything that was gathered to a file; explain replays it')
    .option('--color <WHEN>', 'auto, always or never', 'auto')
    .option('-q, --quiet', 'no progress and no advice on standard error');
}

const LAB_EXAMPLES = `
Examples:
  ${NAME} lab
  ${NAME} lab no-endpoints --mode nftables
  ${NAME} lab api-server --keep`;

const EXPLAIN_EXAMPLES = `
Examples:
  dmesg | ${NAME} explain -
  ${NAME} explain /var/log/kern.log --pod-ip 10.244.1.7 --rules rules.txt --objects objects.json
  ${NAME} explain nft-monitor.txt kern.log --rules ruleset.txt -o markdown
  ${NAME} explain trace.json -o json`;

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

function createDeps(colour: Colour, signal: AbortSignal, quiet: boolean): Deps {
  return {
    files: createFiles(process.stdin),
    out: {
      result: text => void process.stdout.write(text),
      say: text => void (quiet || process.stderr.write(`${escapeText(text)}\n`)),
    },
    style: createStyle(wantsColour(colour), process.stdout.isTTY ? Math.max(60, process.stdout.columns || 80) : 80),
    signal,
  };
}

/** --color, then NO_COLOR (no-color.org), then FORCE_COLOR, then whether a person is looking. */
function wantsColour(colour: Colour): boolean {
  if (colour !== 'auto') return colour === 'always';
  if (process.env.NO_COLOR) return false;
  const forced = process.env.FORCE_COLOR;
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return process.stdout.isTTY === true && process.env.TERM !== 'dumb';
}

/** One line that says what failed, one that says what to do. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return reportUsage(error);
  if (error instanceof TraceError) {
    say(error.kind === 'interrupted' ? 'interrupted; cleaned up' : `error: ${error.message}`);
    if (error.remedy !== undefined) say(`  ${error.remedy}`);
    return exitCodeOf(error.kind);
  }
  say(`error: ${error instanceof Error ? error.message : String(error)}`);
  say('  This is a fault of the program; please report it, with the command that led to it.');
  if (process.env.KUBECTL_TRACE_SVC_DEBUG && error instanceof Error) say(error.stack ?? '');
  return EXIT.error;
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

process.exitCode = await main(process.argv.slice(2));
