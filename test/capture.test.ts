/** The waist: what is saved can be replayed, and what is damaged is refused in one line. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse } from '../src/analyse.ts';
import { type Capture, decodeCapture, emptyCapture, encodeCapture, isCapture } from '../src/capture.ts';
import { TraceError } from '../src/errors.ts';
import { emptyObjects } from '../src/kube/objects.ts';
import { API_VERSION } from '../src/version.ts';
import { allScenarios, captureOf, ipvsCapture } from './reconstruct/captures.ts';

function replayed(capture: Capture): Capture {
  return decodeCapture(JSON.parse(encodeCapture(capture)), 'trace.json');
}

function refusal(value: unknown): TraceError {
  try {
    decodeCapture(value, 'trace.json');
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('saved and replayed', () => {
  test.each(allScenarios().map(({ mode, scenario }) => [mode, scenario] as const))(
    '%s/%s gives the same report',
    (mode, scenario) => {
      const capture = captureOf(mode, scenario);
      expect(replayed(capture)).toEqual(capture);
      expect(analyse(replayed(capture))).toEqual(analyse(capture));
    },
  );

  test('so does the session under IPVS', () => {
    expect(analyse(replayed(ipvsCapture()))).toEqual(analyse(ipvsCapture()));
  });

  test('any text in it comes back as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.array(fc.string({ unit: 'binary' })), (text, notes) => {
        const capture = emptyCapture('lab', emptyObjects());
        capture.traces.push({ name: text, text });
        capture.notes.push(...notes);
        expect(replayed(capture)).toEqual(capture);
      }),
    );
  });

  test('is text that ends in a newline, and says what it is in its first line', () => {
    const text = encodeCapture(emptyCapture('live', emptyObjects()));
    expect(text.endsWith('}\n')).toBe(true);
    expect(text).toMatch(/^\{\n "apiVersion": "trace-svc\/v1alpha1",\n "kind": "Capture"/);
  });
});

describe('what is one', () => {
  test.each<[unknown, boolean]>([
    [{ kind: 'Capture' }, true],
    [emptyCapture('live', emptyObjects()), true],
    [{ kind: 'List' }, false],
    [null, false],
    ['Capture', false],
    [[], false],
  ])('%j: %s', (value, is) => {
    expect(isCapture(value)).toBe(is);
  });
});

describe('read from what others wrote', () => {
  const minimal = { apiVersion: API_VERSION, kind: 'Capture' };

  test('what is left out is empty', () => {
    expect(decodeCapture(minimal, 'x')).toEqual(emptyCapture('files', emptyObjects()));
  });

  test('objects may be there in part', () => {
    const capture = decodeCapture({ ...minimal, objects: { pods: [] } }, 'x');
    expect(capture.objects).toEqual(emptyObjects());
  });

  test('another version is refused, and both are named', () => {
    const error = refusal({ ...minimal, apiVersion: 'trace-svc/v9' });
    expect(error.message).toBe(
      'trace.json is a capture of version trace-svc/v9; this program reads trace-svc/v1alpha1',
    );
    expect(error.remedy).toMatch(/version of kubectl-trace_svc/);
  });

  test.each<[string, object, RegExp]>([
    ['traces as text', { traces: 'x' }, /`?traces`? is not a list/],
    ['traces as an object', { traces: {} }, /`?traces`? is not a list/],
    ['rules as a number', { rules: 3 }, /`?rules`? is not a list/],
    ['notes as null', { notes: null }, /`?notes`? is not a list/],
    ['cleanup as text', { cleanup: 'done' }, /`?cleanup`? is not an? object/],
    ['an origin nobody has', { origin: 7 }, /origin/],
    ['a trace that is a number', { traces: [3] }, /traces\[0\]/],
    ['a trace without a text', { traces: [{ name: 'x' }] }, /traces\[0\]\.text/],
    ['a trace whose text is null', { traces: [{ name: 'x', text: null }] }, /traces\[0\]\.text/],
    ['services as a number', { objects: { services: 3 } }, /objects\.services/],
    ['a service that is empty', { objects: { services: [{}] } }, /objects\.services\[0\]/],
    ['objects as a list', { objects: [] }, /objects is not an? object/],
    ['objects as a word', { objects: 'none' }, /objects is not an? object/],
    ['no pods', { objects: { pods: null } }, /objects\.pods/],
    ['rules without a text', { rules: [{}] }, /rules\[0\]/],
    ['a probe that is empty', { probes: [{}] }, /probes\[0\]/],
    ['conntrack as a number', { conntrack: [3] }, /conntrack\[0\]/],
    ['a source without addresses', { source: {} }, /source\.ips/],
    ['a source that is a word', { source: 'x' }, /source/],
    ['a cleanup that says nothing', { cleanup: {} }, /cleanup\.complete/],
    ['a note that is a number', { notes: [3] }, /notes\[0\]/],
    ["a tool's version that is a number", { node: { tools: { nft: 3 } } }, /node\.tools\.nft is not a string/],
  ])('damaged: %s', (_, damage, message) => {
    const error = refusal({ ...minimal, ...damage });
    expect(error.kind).toBe('usage');
    expect(error.message).toMatch(/^trace\.json is a damaged capture: /);
    expect(error.message).toMatch(message);
  });
});
