/** The command line as commander knows it: commands, flags, help. What each does is handed in. */
import { Command, CommanderError, Option } from 'commander';
import type { ExplainFlags, LabFlags } from './request.ts';
import type { CleanupFlags, DoctorFlags, LiveFlags } from './request-live.ts';
import { NAME, VERSION } from './version.ts';

export { CommanderError };

export interface Handlers {
  live(words: string[], flags: LiveFlags): Promise<void>;
  explain(files: string[], flags: ExplainFlags): Promise<void>;
  lab(scenario: string | undefined, flags: LabFlags): Promise<void>;
  doctor(flags: DoctorFlags): Promise<void>;
  cleanup(flags: CleanupFlags): Promise<void>;
  completion(): void;
}

/** What a command line may consist of, for completion. */
export interface CommandShape {
  name: string;
  about: string;
  flags: FlagShape[];
  commands: CommandShape[];
}

export interface FlagShape {
  long: string;
  short?: string;
  /** As handlers get it. */
  key: string;
  about: string;
  takesValue: boolean;
  hidden: boolean;
}

export function shapeOf(command: Command): CommandShape {
  return {
    name: command.name(),
    about: command.description(),
    flags: [...command.options.map(flagOf), HELP],
    commands: command.createHelp().visibleCommands(command).map(shapeOf),
  };
}

function flagOf(option: Option): FlagShape {
  return {
    long: option.long ?? '',
    ...(option.short ? { short: option.short } : {}),
    key: option.attributeName(),
    about: option.description,
    takesValue: option.required || option.optional,
    hidden: option.hidden,
  };
}

/** commander has no option of this name in its list. */
const HELP: FlagShape = {
  long: '--help',
  short: '-h',
  key: 'help',
  about: 'display help for command',
  takesValue: false,
  hidden: false,
};

export function createProgram(handlers: Handlers): Command {
  const program = new Command(NAME)
    .description(
      "Shows what really happened to a packet sent to a Kubernetes Service, from the kernel's own trace: every chain and rule it met on the node, where its destination was rewritten and to which pod, why curl worked and ping did not.",
    )
    .usage('[svc/NAME[:PORT] | NAME [PORT]] [flags]')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .helpCommand(true)
    .showSuggestionAfterError(true)
    .enablePositionalOptions()
    .argument(
      '[TARGET...]',
      "the Service, and its port by number or name; default/kubernetes, the API server's own, if not given",
    );
  addLiveOptions(program);
  addOutputOptions(program);
  addKubeOptions(program);
  program
    .addHelpText('after', LIVE_EXAMPLES)
    .action((words: string[], flags: LiveFlags) => handlers.live(words, flags));
  addExplain(program, handlers);
  addLab(program, handlers);
  addDoctor(program, handlers);
  addCleanup(program, handlers);
  addCompletion(program, handlers);
  return program;
}

function addLiveOptions(program: Command): void {
  program
    .option('--node <NODE>', 'send from this node')
    .option('--from <POD>', 'send from this pod (pod/NAME) instead of a new one: its address, policies and mesh')
    .option(
      '--via <ADDRESS>',
      'which of its addresses to ask: cluster-ip, external-ip, load-balancer or node-port (default cluster-ip)',
    )
    .option('--ip-family <FAMILY>', "IPv4 or IPv6 (default: the Service's first)")
    .option('--count <N>', 'ask so often, to see which endpoints are picked (default 1)')
    .option('--path <PATH>', 'what to ask an HTTP server for (default /)')
    .option('--scheme <SCHEME>', "http or https (default: by the port's number and name)")
    .option('--udp-data <TEXT>', 'what to send to a UDP port (default hostname)')
    .option('--timeout <SECONDS>', 'the longest a probe may take (default 3)')
    .option('--expect <OUTCOME>', 'end with 0 only for this: answered, refused, timeout or unreachable')
    .option('--method <METHOD>', 'how packets are marked for the trace: auto, nft or raw (default auto)')
    .option(
      '--log-source <SOURCE>',
      'where lines of legacy tables are read: auto, nflog, kmsg, journald or file (default auto)',
    )
    .option('--image <IMAGE>', "the probe's image; $KUBECTL_TRACE_SVC_IMAGE")
    .option('--start-timeout <SECONDS>', 'the longest a pod may take to start (default 30)')
    .option('--deadline <SECONDS>', 'when the node removes everything by itself (default 60, more for many probes)')
    .option('--dry-run', 'print every manifest and command instead of running them')
    .option('--interactive', 'ask before anything is changed')
    .option('-v, --verbose', 'say every step, request and command, and when it was');
  addAgentOptions(program);
}

function addAgentOptions(command: Command): Command {
  return command
    .option('--agent-image <IMAGE>', "the node agent's image (default: the probe's); $KUBECTL_TRACE_SVC_AGENT_IMAGE")
    .option(
      '--agent-namespace <NAMESPACE>',
      'where the agent runs, if not beside the probe; $KUBECTL_TRACE_SVC_AGENT_NAMESPACE',
    )
    .option('--image-pull-policy <POLICY>', 'Always, IfNotPresent or Never (default IfNotPresent)')
    .option('--image-pull-secret <NAME>', 'credentials for the images (repeatable)', collect);
}

/** kubectl's own, with its own meaning. */
function addKubeOptions(command: Command): Command {
  return command
    .option('-n, --namespace <NAMESPACE>', 'namespace of the Service and the probe')
    .option('--context <NAME>', 'context of the kubeconfig')
    .option('--kubeconfig <FILE>', 'the kubeconfig file')
    .option('--cluster <NAME>', 'cluster of the kubeconfig')
    .option('--user <NAME>', 'user of the kubeconfig')
    .option('--as <USER>', 'act as this user')
    .option('--as-group <GROUP>', 'act as a member of this group (repeatable)', collect)
    .option('--as-uid <UID>', 'act as a user of this id')
    .option('--request-timeout <DURATION>', 'the longest a single request may take (default 10s)')
    .addOption(new Option('-s, --server <URL>', 'address of the API server').hideHelp())
    .addOption(new Option('--token <TOKEN>', 'bearer token').hideHelp())
    .addOption(new Option('--certificate-authority <FILE>', "who vouches for the API server's certificate").hideHelp())
    .addOption(new Option('--client-certificate <FILE>', 'certificate to show to the API server').hideHelp())
    .addOption(new Option('--client-key <FILE>', 'its key').hideHelp())
    .addOption(new Option('--tls-server-name <NAME>', "the name in the API server's certificate").hideHelp())
    .addOption(new Option('--insecure-skip-tls-verify', 'do not check that certificate').hideHelp());
}

function addOutputOptions(command: Command): Command {
  return command
    .option('-o, --output <FORMAT>', 'tree, wide, json, yaml, markdown, mermaid or html (default tree)')
    .option('--save <FILE>', 'write everything that was gathered to a file; explain replays it')
    .option('--color <WHEN>', 'auto, always or never (default auto)')
    .option('-q, --quiet', 'no progress and no advice on standard error');
}

function addExplain(program: Command, handlers: Handlers): void {
  const command = program
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
    .option('--follow', 'go on as the file grows, also when it is rotated');
  addOutputOptions(command)
    .addHelpText('after', EXPLAIN_EXAMPLES)
    .action((files: string[], flags: ExplainFlags) => handlers.explain(files, { ...before(program), ...flags }));
}

function addLab(program: Command, handlers: Handlers): void {
  const command = program
    .command('lab')
    .description('the same trace against a Service made of network namespaces on this machine: no cluster needed')
    .argument('[SCENARIO]', 'healthy if not given; see --list')
    .option('--mode <MODE>', 'who writes the rules, and how: legacy, nft, mixed or nftables')
    .option('--list', 'list the scenarios')
    .option('--keep', 'leave the namespaces there afterwards, to look around')
    .option('--recorded', 'replay a recorded run instead');
  addOutputOptions(command)
    .addHelpText('after', LAB_EXAMPLES)
    .action((scenario: string | undefined, flags: LabFlags) =>
      handlers.lab(scenario, { ...before(program), ...flags }),
    );
}

function addDoctor(program: Command, handlers: Handlers): void {
  const command = program
    .command('doctor')
    .description('what this cluster and a node would allow, and why: rights, Pod Security, dataplane, kernel, tools')
    .option('--node <NODE>', 'look at this node')
    .option('--all-nodes', 'look at every node, not at one alone')
    .option('-o, --output <FORMAT>', 'text or json (default text)')
    .option('--color <WHEN>', 'auto, always or never (default auto)')
    .option('-q, --quiet', 'no progress on standard error');
  addKubeOptions(addAgentOptions(command)).action((flags: DoctorFlags) =>
    handlers.doctor({ ...before(program), ...flags }),
  );
}

function addCleanup(program: Command, handlers: Handlers): void {
  const command = program
    .command('cleanup')
    .description('find and remove what ended runs left: pods, rules and tables on all nodes, kept labs on this machine')
    .option('--run <ID>', 'only this run, also before its deadline')
    .option('--node <NODE>', 'only this node')
    .option('-q, --quiet', 'no progress on standard error');
  addKubeOptions(addAgentOptions(command)).action((flags: CleanupFlags) =>
    handlers.cleanup({ ...before(program), ...flags }),
  );
}

function addCompletion(program: Command, handlers: Handlers): void {
  program
    .command('completion')
    .description('print the script that lets kubectl complete Services, ports, nodes and pods')
    .addHelpText('after', COMPLETION_EXAMPLES)
    .action(() => handlers.completion());
}

/** Flags that stand before the command's name hold for it as well: `--context prod cleanup` must not clean up elsewhere. */
function before(program: Command): object {
  return program.opts();
}

function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** As kubectl writes them, and no line longer than 80. */
const LIVE_EXAMPLES = `
Examples:
  # The API server's own Service, from any node
  ${NAME}

  # A port by its name, in another namespace
  ${NAME} svc/web:http -n shop

  # From a node of your choice
  ${NAME} web 80 --node n2

  # From a pod that is there: its address, its policies
  ${NAME} web --from pod/client-0

  # Which endpoints are picked, and how often
  ${NAME} web --count 20

  # As somebody outside would ask
  ${NAME} web --via node-port

  # Keep all evidence; "explain run.json" shows it again
  ${NAME} web --save run.json

  # What would be done, and nothing else
  ${NAME} web --dry-run

Exit codes:
  0 answered, 1 error, 2 usage, 3 not answered, 4 refused,
  5 cleanup incomplete, 6 trace incomplete`;

const LAB_EXAMPLES = `
Examples:
  # A Service that works, and what its packets meet
  ${NAME} lab

  # What kube-proxy's nftables mode does without endpoints
  ${NAME} lab no-endpoints --mode nftables

  # Leave it there, to look around
  ${NAME} lab api-server --keep`;

const COMPLETION_EXAMPLES = `
kubectl (1.26 or newer) asks a program of the name kubectl_complete-trace_svc.
Put it where the plugin is:

  ${NAME} completion > ~/.local/bin/kubectl_complete-trace_svc
  chmod +x ~/.local/bin/kubectl_complete-trace_svc

kubectl's own completion has to be set up in your shell: see
kubectl completion --help`;

const EXPLAIN_EXAMPLES = `
Examples:
  # What the kernel has in its log
  dmesg | ${NAME} explain -

  # The packets of one pod, with the rules and names of that moment
  ${NAME} explain /var/log/kern.log --pod-ip 10.244.1.7 \\
    --rules rules.txt --objects objects.json

  # A node with both kinds of tables, for a bug report
  ${NAME} explain nft-monitor.txt kern.log \\
    --rules ruleset.txt -o markdown

  # A saved run, as a page to step through, and for a program
  ${NAME} explain trace.json -o html > lesson.html
  ${NAME} explain trace.json -o json`;
