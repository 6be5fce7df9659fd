import { describe, expect, it } from 'vitest';
import { builtinHook, HOOKS, place, tableHooks, tablePriority } from '../../src/rules/hooks.ts';

describe('builtin chains', () => {
  it.each([
    ['PREROUTING', 'prerouting'],
    ['INPUT', 'input'],
    ['FORWARD', 'forward'],
    ['OUTPUT', 'output'],
    ['POSTROUTING', 'postrouting'],
    ['KUBE-SERVICES', undefined],
    ['prerouting', undefined],
    ['constructor', undefined],
    ['', undefined],
  ])('%s stands at %s', (chain, hook) => expect(builtinHook(chain)).toBe(hook));
});

describe('iptables’ tables', () => {
  it.each([
    ['raw', 'prerouting', -300],
    ['mangle', 'forward', -150],
    ['filter', 'input', 0],
    ['security', 'output', 50],
    ['nat', 'prerouting', -100],
    ['nat', 'output', -100],
    ['nat', 'input', 100],
    ['nat', 'postrouting', 100],
    ['kube-proxy', 'input', undefined],
  ] as const)('%s at %s has priority %s', (table, hook, priority) => expect(tablePriority(table, hook)).toBe(priority));

  it.each([
    ['raw', ['prerouting', 'output']],
    ['nat', ['prerouting', 'input', 'output', 'postrouting']],
    ['filter', ['input', 'forward', 'output']],
    ['mangle', HOOKS],
  ])('%s has chains at %j', (table, hooks) => expect(tableHooks(table)).toEqual(hooks));
});

describe('one number that grows along a packet’s way', () => {
  const way = (...steps: [Parameters<typeof place>[0], number][]) =>
    steps.map(([hook, priority]) => place(hook, priority));
  it.each([
    {
      name: 'forwarded',
      steps: way(
        ['prerouting', -350],
        ['prerouting', -300],
        ['prerouting', -100],
        ['forward', -150],
        ['forward', 0],
        ['postrouting', -150],
        ['postrouting', 100],
        ['postrouting', 300],
      ),
    },
    { name: 'delivered', steps: way(['prerouting', 300], ['input', -350], ['input', 100]) },
    { name: 'sent', steps: way(['output', -300], ['output', -100], ['output', 0], ['postrouting', -350]) },
  ])('$name', ({ steps }) => {
    expect([...steps].sort((a, b) => a - b)).toEqual(steps);
    expect(new Set(steps).size).toBe(steps.length);
  });

  it('input and forward are the same stage: a packet sees one of them', () =>
    expect(place('input', 0)).toBe(place('forward', 0)));
});
