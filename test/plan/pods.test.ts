/** The two pods of a run: what each may do, and that its words arrive in the container as they were written. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  AGENT_COMMAND,
  type AgentPodOrder,
  agentName,
  agentPod,
  ephemeralContainer,
  LABEL,
  probeName,
  probePod,
} from '../../src/plan/pods.ts';

const order = (more: Partial<AgentPodOrder> = {}): AgentPodOrder => ({
  run: 'abcd1234',
  namespace: 'shop',
  image: 'img:1',
  pullPolicy: 'IfNotPresent',
  pullSecrets: [],
  forced: false,
  seconds: 60,
  script: 'echo "$1"',
  log: 'auto',
  lock: false,
  ...more,
});

// biome-ignore lint/suspicious/noExplicitAny: a manifest is looked at field by field
type Any = any;
const specOf = (manifest: Any): Any => manifest.spec;
const containerOf = (manifest: Any): Any => specOf(manifest).containers[0];

/** Kubernetes' own reading of commands and values (third_party/forked/golang/expansion): `$$` is `$`, `$(NAME)` a variable. */
function expand(text: string, env: Record<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, kind: string, name: string) =>
    kind === '$' ? '$' : (env[name] ?? whole),
  );
}

describe('both pods', () => {
  test.each([
    ['probe', probePod(order())],
    ['agent', agentPod(order({ node: 'n1' }))],
  ])('%s', (component, manifest: Any) => {
    expect(manifest.metadata.namespace).toBe('shop');
    expect(manifest.metadata.labels).toMatchObject({
      [LABEL.split('=')[0] as string]: LABEL.split('=')[1],
      'app.kubernetes.io/component': component,
      'trace-svc/run': 'abcd1234',
      'sidecar.istio.io/inject': 'false',
    });
    expect(manifest.spec).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      activeDeadlineSeconds: 90,
      terminationGracePeriodSeconds: 5,
    });
    expect(containerOf(manifest)).toMatchObject({ image: 'img:1', imagePullPolicy: 'IfNotPresent' });
    expect(containerOf(manifest).resources.limits).toBeDefined();
    expect(containerOf(manifest).securityContext.privileged).toBeUndefined();
    expect(specOf(manifest).hostPID ?? specOf(manifest).hostIPC).toBeUndefined();
    expect(specOf(manifest).imagePullSecrets).toBeUndefined();
  });
  test('credentials for images', () => {
    const wanted = [{ name: 'a' }, { name: 'b' }];
    expect(specOf(probePod(order({ pullSecrets: ['a', 'b'] }))).imagePullSecrets).toEqual(wanted);
    expect(specOf(agentPod(order({ pullSecrets: ['a', 'b'] }))).imagePullSecrets).toEqual(wanted);
  });
  test('names', () => expect([probeName('x'), agentName('x')]).toEqual(['trace-svc-x', 'trace-svc-x-node']));
});

describe('the probe', () => {
  // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, line by line.
  test("fits Pod Security's level restricted", () => {
    const spec = specOf(probePod(order()));
    const { securityContext: container } = spec.containers[0];
    expect(spec.hostNetwork ?? spec.hostPID ?? spec.hostIPC).toBeUndefined();
    expect(spec.volumes).toBeUndefined();
    expect(container.allowPrivilegeEscalation).toBe(false);
    expect(container.capabilities).toEqual({ drop: ['ALL'] });
    expect(spec.securityContext.runAsNonRoot).toBe(true);
    expect(spec.securityContext.runAsUser).toBeGreaterThan(0);
    expect(spec.securityContext.seccompProfile).toEqual({ type: 'RuntimeDefault' });
    const safe = ['kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.ping_group_range'];
    for (const { name } of spec.securityContext.sysctls) expect(safe).toContain(name);
    expect(spec.containers[0].ports).toBeUndefined();
  });
  test.each<[string, Partial<AgentPodOrder>, object, string[]]>([
    ['anywhere', {}, {}, ['nodeName', 'affinity', 'tolerations']],
    [
      'where we chose, if the scheduler agrees',
      { node: 'n1' },
      { affinity: { nodeAffinity: {} } },
      ['nodeName', 'tolerations'],
    ],
    [
      'where it was told to, taints or not',
      { node: 'n1', forced: true },
      { nodeName: 'n1', tolerations: [{ operator: 'Exists' }] },
      ['affinity'],
    ],
  ])('%s', (_, more, wanted, gone) => {
    const spec = specOf(probePod(order(more)));
    expect(spec).toMatchObject(wanted);
    for (const key of gone) expect(spec).not.toHaveProperty(key);
  });
  test('ends by itself', () => {
    const [shell, flag, script] = containerOf(probePod(order())).command;
    expect([shell, flag]).toEqual(['sh', '-c']);
    expect(expand(script, {})).toBe("echo $$ >/tmp/.trace-svc-pid 2>/dev/null; trap 'exit 0' TERM; sleep 60 & wait");
  });
});

describe('the agent', () => {
  test.each<[string, Partial<AgentPodOrder>, string[], string[]]>([
    ['usually', {}, ['SETGID', 'SYSLOG'], ['run', 'sysctl']],
    ['of no log', { log: 'none' }, [], ['run', 'sysctl']],
    ['of NFLOG', { log: 'nflog' }, ['SETGID'], ['run', 'sysctl']],
    ['of the kernel log', { log: 'kmsg' }, ['SYSLOG'], ['run', 'sysctl']],
    ['of the journal', { log: 'journald' }, ['SYS_CHROOT'], ['run', 'sysctl', 'host']],
    ["of the node's files", { log: 'file' }, ['DAC_READ_SEARCH'], ['run', 'sysctl', 'host']],
    ['with the lock of the tables', { lock: true }, ['SETGID', 'SYSLOG'], ['run', 'sysctl', 'lock']],
    ['with both', { lock: true, log: 'file' }, ['DAC_READ_SEARCH'], ['run', 'sysctl', 'lock', 'host']],
  ])('%s has what it needs, and no more', (_, more, capabilities, volumes) => {
    const pod = agentPod(order({ node: 'n1', ...more }));
    const container = containerOf(pod);
    expect(container.securityContext.capabilities).toEqual({
      drop: ['ALL'],
      add: ['NET_ADMIN', 'NET_RAW', ...capabilities],
    });
    expect(container.securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
    expect(specOf(pod).volumes.map(({ name }: Any) => name)).toEqual(volumes);
    expect(container.volumeMounts.map(({ name }: Any) => name)).toEqual(volumes);
    expect(specOf(pod)).toMatchObject({
      hostNetwork: true,
      nodeName: 'n1',
      restartPolicy: 'OnFailure',
      tolerations: [{ operator: 'Exists' }],
    });
  });
  test("the node's files can only be read", () => {
    const mounts = containerOf(agentPod(order({ log: 'journald' }))).volumeMounts;
    expect(mounts.find(({ name }: Any) => name === 'host')).toMatchObject({ readOnly: true });
  });
  test.each([
    [true, '/run/xtables.lock', undefined],
    [false, '/run/trace-svc/xtables.lock', 'yes'],
  ])('the lock: %s', (lock, file, lockless) => {
    const env = Object.fromEntries(
      containerOf(agentPod(order({ lock }))).env.map(({ name, value }: Any) => [name, value]),
    );
    expect([env.XTABLES_LOCKFILE, env.TS_LOCKLESS]).toEqual([file, lockless]);
  });
  test('its script arrives as it was written, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc
          .array(fc.constantFrom('$', '$$', '(', ')', '$(TS_RUN)', '${', 'x}', 'a', "'", '"', '\\', '\n'))
          .map(parts => parts.join('')),
        script => {
          const { env, command } = containerOf(agentPod(order({ script })));
          const values: Record<string, string> = {};
          // As the kubelet does it: each value may use those before it.
          for (const { name, value } of env) values[name] = expand(value, values);
          expect(values.TS_AGENT).toBe(script);
          expect(command.map((word: string) => expand(word, values))).toEqual(AGENT_COMMAND);
        },
      ),
    );
  });
});

describe('a container in a pod that is there', () => {
  test('may send echo requests where the namespace allows it', () => {
    const one = ephemeralContainer('abcd1234', order(), 60, false);
    expect(one.name).toBe('trace-svc-abcd1234');
    expect(one.securityContext).toEqual({
      runAsUser: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: ['NET_RAW'] },
    });
  });
  test('fits level restricted where it does not', () => {
    expect(ephemeralContainer('abcd1234', order(), 60, true).securityContext).toMatchObject({
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
  });
  test('its script runs, and ends when it is told to', () => {
    const [, , script = ''] = ephemeralContainer('x', order(), 60, true).command;
    const told = `${expand(script, {}).replace('/tmp/.trace-svc-pid', '/dev/null')} `.replace(
      'sleep 60',
      'kill -TERM $$; sleep 0',
    );
    expect(() => execFileSync('sh', ['-c', told])).not.toThrow();
  });
});
