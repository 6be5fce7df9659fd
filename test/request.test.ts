/** Words of the command line -> what is wanted; and every wrong combination refused, with the way out. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeOf, TraceError } from '../src/errors.ts';
import { FORMATS } from '../src/render/formats.ts';
import { type ExplainFlags, parseExplain, parseOutput, quote } from '../src/request.ts';

function refusal(files: string[], flags: ExplainFlags): TraceError {
  try {
    parseExplain(files, flags);
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('explain', () => {
  test('one file and nothing else', () => {
    expect(parseExplain(['kern.log'], {})).toEqual({
      command: 'explain',
      files: ['kern.log'],
      rules: [],
      objects: [],
      conntrack: [],
      probes: [],
      podIps: [],
      follow: false,
      format: 'tree',
      colour: 'auto',
      quiet: false,
    });
  });

  test('everything at once', () => {
    const flags: ExplainFlags = {
      rules: ['a', 'b'],
      objects: ['c'],
      conntrack: ['d'],
      probe: ['e', 'f'],
      podIp: ['10.244.1.7', 'fd00::7'],
      output: 'json',
      color: 'never',
      save: 'out.json',
      quiet: true,
    };
    expect(parseExplain(['x', '-'], flags)).toMatchObject({
      files: ['x', '-'],
      rules: ['a', 'b'],
      probes: ['e', 'f'],
      podIps: ['10.244.1.7', 'fd00::7'],
      format: 'json',
      colour: 'never',
      save: 'out.json',
      quiet: true,
    });
  });

  test.each(FORMATS)('-o %s', format => {
    expect(parseExplain(['x'], { output: format }).format).toBe(format);
  });

  test.each([
    ['one after the other', ['10.244.1.7,10.244.1.8'], ['10.244.1.7', '10.244.1.8']],
    ['with spaces', [' 10.244.1.7 '], ['10.244.1.7']],
    ['IPv6, spelt otherwise', ['FD00:0:0::7'], ['fd00::7']],
  ])('--pod-ip: %s', (_, podIp, addresses) => {
    expect(parseExplain(['x'], { podIp }).podIps).toEqual(addresses);
  });

  test.each<[string, string[], ExplainFlags, RegExp, RegExp]>([
    ['no file', [], {}, /needs a file/, /dmesg \| kubectl trace-svc explain -/],
    ['- twice', ['-', '-'], {}, /standard input \(-\) can be read only once/, /Save one/],
    ['- as a trace and as rules', ['-'], { rules: ['-'] }, /only once/, /Save one/],
    ['- as objects and as a probe', ['x'], { objects: ['-'], probe: ['-'] }, /only once/, /Save one/],
    ['- as conntrack twice', ['x'], { conntrack: ['-', '-'] }, /only once/, /Save one/],
    ['--follow of two files', ['a', 'b'], { follow: true }, /--follow follows one file/, /each/],
    ['--follow and a page', ['a'], { follow: true, output: 'html' }, /--follow has no end/, /another format/],
    ['--follow and --save', ['a'], { follow: true, save: 'x' }, /--follow has no end/, /without --follow/],
    [
      'a pod IP that is a name',
      ['a'],
      { podIp: ['web-0'] },
      /--pod-ip "web-0" is not an IP address/,
      /kubectl get pod/,
    ],
    ['a pod IP with a mask', ['a'], { podIp: ['10.244.1.7/32'] }, /is not an IP address/, /wide/],
    ['a pod IP with a port', ['a'], { podIp: ['10.244.1.7:80'] }, /is not an IP address/, /wide/],
    ['an octet too large', ['a'], { podIp: ['10.244.1.256'] }, /is not an IP address/, /wide/],
    ['an empty pod IP', ['a'], { podIp: [''] }, /--pod-ip "" is not/, /wide/],
    ['one of two is none', ['a'], { podIp: ['10.244.1.7,x'] }, /--pod-ip "x"/, /wide/],
    ['a format nobody knows', ['a'], { output: 'xml' }, /-o "xml" is not a format/, /tree, wide, json, yaml, markdown/],
    ['a format in capitals', ['a'], { output: 'JSON' }, /-o "JSON" is not a format/, /json/],
    ['a colour nobody knows', ['a'], { color: 'red' }, /--color "red" is not known/, /auto, always or never/],
    ['--save without a name', ['a'], { save: '' }, /--save needs a file name/, /trace\.json/],
  ])('refused: %s', (_, files, flags, message, remedy) => {
    const error = refusal(files, flags);
    expect(error.kind).toBe('usage');
    expect(exitCodeOf(error.kind)).toBe(EXIT.usage);
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/\n/);
    expect(error.remedy).toMatch(remedy);
    expect(error.remedy).not.toMatch(/\n/);
  });

  test('whatever the words are, the answer is a request or a refusal on one line', () => {
    const word = fc.string({ unit: 'binary', maxLength: 200 });
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 3 }),
        fc.record(
          { output: word, color: word, save: word, podIp: fc.array(word, { maxLength: 2 }), rules: fc.array(word) },
          { requiredKeys: [] },
        ),
        (files, flags) => {
          try {
            expect(parseExplain(files, flags as ExplainFlags).command).toBe('explain');
          } catch (error) {
            expect(error).toBeInstanceOf(TraceError);
            expect((error as TraceError).message).not.toMatch(/[\u0000-\u001f]/);
            expect((error as TraceError).message.length).toBeLessThan(300);
          }
        },
      ),
    );
  });
});

describe('output', () => {
  test('nothing is asked for', () => {
    expect(parseOutput({})).toEqual({ format: 'tree', colour: 'auto', quiet: false });
  });
  test.each(['auto', 'always', 'never'])('--color %s', color => {
    expect(parseOutput({ color }).colour).toBe(color);
  });
});

describe('a word of somebody else in a message', () => {
  test('is quoted, and what is too long is cut', () => {
    expect(quote('x')).toBe('"x"');
    expect(quote('a\nb\u001b')).toBe('"a\\nb\\u001b"');
    expect(quote('y'.repeat(500))).toBe(`"${'y'.repeat(80)}…"`);
  });
});
