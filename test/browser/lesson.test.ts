/** The page of `-o html` in a real browser: stepped through, read by its accessibility tree, measured, printed, and attacked. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { renderHtml } from '../../src/render/html/page.ts';
import { explained, ipvsCapture } from '../reconstruct/captures.ts';
import { HOSTILE } from '../render/arbitrary.ts';
import { ipv6Report } from '../render/reports.ts';
import { type Browser, findChromium, startBrowser } from './chromium.ts';
import { CARDS, COUNT, MARKERS, OVERHANG, PACKETS, SAID, STEPS_SEEN, WEAK_TEXTS } from './measure.ts';
import { openPage, type Page, type View } from './page.ts';

const REPORTS: Record<string, Report> = {
  pair: explained('legacy', ['web-curl', 'web-ping']),
  'pair in nftables mode': explained('nftables', ['web-curl', 'web-ping']),
  'masqueraded on a mixed node': explained('nft', 'self-curl'),
  refused: explained('nft', 'noep-curl'),
  IPVS: analyse(ipvsCapture()),
  IPv6: ipv6Report(),
  incomplete: explained('nft', 'web-curl', { traces: ['xtables-monitor.txt'] }),
  hostile: hostile(explained('legacy', ['web-curl', 'web-ping'])),
  nothing: analyse(emptyCapture('files', emptyObjects())),
};

/** Every word of somebody else is an attack, each another one. */
function hostile(given: Report): Report {
  let next = 0;
  const word = () => HOSTILE[next++ % HOSTILE.length] as string;
  const report = JSON.parse(JSON.stringify(given)) as Report;
  for (const hop of report.journeys.flatMap(journey => journey.hops))
    Object.assign(hop, {
      chain: word(),
      text: word(),
      comment: word(),
      meaning: word(),
      out: word(),
      evidence: [word()],
    });
  for (const probe of report.probes) probe.detail = word();
  for (const finding of report.findings) Object.assign(finding, { sentence: word(), remedy: word() });
  report.notes = HOSTILE;
  return report;
}

let browser: Browser;
let folder: string;
const pages: Page[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'trace-svc-pages-'));
  for (const [name, report] of Object.entries(REPORTS)) writeFileSync(fileOf(name), renderHtml(report));
  browser = await startBrowser(findChromium());
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

afterEach(async () => {
  for (const page of pages.splice(0)) await page.close();
});

function fileOf(name: string): string {
  return join(folder, `${name.replaceAll(' ', '-')}.html`);
}

async function open(name: string, view: View = {}, hash = ''): Promise<Page> {
  const page = await openPage(browser, `${pathToFileURL(fileOf(name)).href}${hash}`, view);
  pages.push(page);
  return page;
}

const names = Object.keys(REPORTS);
const withPackets = names.filter(name => (REPORTS[name] as Report).journeys.length > 0);

describe.each(names)('%s', name => {
  test('no error, no violation of its policy, no request, nothing beside the window at any step', async () => {
    for (const view of [
      { width: 1280, height: 720 },
      { width: 390, height: 844 },
    ]) {
      const page = await open(name, view);
      const steps = Number(
        /of (\d+)/.exec(withPackets.includes(name) ? await page.evaluate<string>(COUNT) : '')?.[1] ?? 1,
      );
      for (let i = 0; i < steps; i++) {
        expect(await page.evaluate(OVERHANG), `step ${i + 1} of ${steps} at ${view.width}`).toBeLessThanOrEqual(0);
        await page.press('ArrowRight');
      }
      expect([page.complaints, page.requests]).toEqual([[], []]);
    }
  });

  test.each(['light', 'dark'] as const)('every text can be read: %s', async scheme => {
    const page = await open(name, { scheme });
    await page.evaluate("document.querySelectorAll('details').forEach(one => one.setAttribute('open', ''))");
    for (const key of ['Home', 'ArrowRight', 'End']) {
      await page.press(key);
      const { seen, weak } = await page.evaluate<{ seen: number; weak: string[] }>(WEAK_TEXTS);
      expect(seen).toBeGreaterThan(3);
      expect(weak).toEqual([]);
    }
  });
});

describe.each(withPackets)('%s, printed or without a script', name => {
  test('on paper every hop of every packet is there, and no control', async () => {
    const page = await open(name);
    await page.press('ArrowRight');
    await page.send('Emulation.setEmulatedMedia', { media: 'print' });
    const { all, seen } = await page.evaluate<{ all: number; seen: number }>(STEPS_SEEN);
    expect(seen).toBe(all);
    // The picture has the room of a screen only where there is one.
    expect(await page.evaluate("getComputedStyle(document.querySelector('.stage')).minHeight")).toBe('0px');
    expect(
      await page.evaluate(
        "[...document.querySelectorAll('.controls, .now, .marker')].some(one => one.checkVisibility())",
      ),
    ).toBe(false);
    expect((await page.evaluate<{ weak: string[] }>(WEAK_TEXTS)).weak).toEqual([]);
    const { data } = await page.send('Page.printToPDF', { printBackground: false });
    const pdf = Buffer.from(data, 'base64');
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    expect(pdf.toString('latin1').match(/\/Type \/Page\b/g)?.length).toBeGreaterThan(1);
  });

  test('without a script it is a list of all steps', async () => {
    const page = await open(name, { script: false });
    // What is asked here is asked from outside: the page's own script does not run.
    expect(await page.evaluate('document.documentElement.className')).toBe('');
    expect(
      await page.evaluate(
        "[...document.querySelectorAll('.steps > .step > .card')].every(card => card.checkVisibility())",
      ),
    ).toBe(true);
    expect(
      await page.evaluate("[...document.querySelectorAll('.controls, .now')].some(one => one.checkVisibility())"),
    ).toBe(false);
  });
});

describe('stepping', () => {
  test('the arrows lead from hop to hop; where the destination is rewritten the packet changes', async () => {
    const page = await open('pair');
    const packets: string[] = [];
    for (let i = 0; i < 8; i++) {
      packets.push((await page.evaluate<string[]>(PACKETS))[0] as string);
      await page.press('ArrowRight');
    }
    expect([...new Set(packets)]).toEqual([
      'from 10.244.1.72:38858 to 10.96.164.231:80',
      'from 10.244.1.72:38858 to 10.96.164.231:80 → 10.244.1.74:8080',
      'from 10.244.1.72:38858 to 10.244.1.74:8080',
    ]);
    await page.press('ArrowLeft');
    await page.press('ArrowLeft');
    expect((await page.evaluate<string[]>(PACKETS))[0]).toContain('→ 10.244.1.74:8080');
  });

  test('Home and End, and no further', async () => {
    const page = await open('pair');
    await page.press('End');
    await page.press('ArrowRight');
    const count = await page.evaluate<string>(COUNT);
    const [, at, of] = /^Step (\d+) of (\d+)$/.exec(count) ?? [];
    expect(at).toBe(of);
    expect(await page.evaluate(CARDS)).toEqual([
      expect.stringContaining('delivered to pod web-7f958d9779-mnhdr'),
      expect.stringContaining('left this node by eth0'),
    ]);
    await page.press('Home');
    await page.press('ArrowLeft');
    expect(await page.evaluate(COUNT)).toBe(`Step 1 of ${of}`);
  });

  test('both packets stand where they are, and where they part both say so', async () => {
    const page = await open('pair');
    expect(await page.evaluate(MARKERS)).toEqual(['curl at veth657da331', 'ping at veth657da331']);
    for (let i = 0; i < 3; i++) await page.press('ArrowRight');
    expect(await page.evaluate(MARKERS)).toEqual(['curl at nat', 'ping at nat']);
    expect(await page.evaluate(CARDS)).toEqual([
      expect.stringContaining('Here they part. curl: rule 2 matched'),
      expect.stringContaining('Here they part. ping: no rule of it matched'),
    ]);
    await page.press('End');
    expect(await page.evaluate(MARKERS)).toEqual(['curl at vethca2a4c92', 'ping at eth0']);
  });

  test('the buttons do the same, by mouse and by key, and keep the focus', async () => {
    const page = await open('pair');
    await page.click('.next');
    expect(await page.evaluate(COUNT)).toMatch(/^Step 2 /);
    await page.press('Enter');
    await page.press(' ');
    expect(await page.evaluate(COUNT)).toMatch(/^Step 4 /);
    await page.click('.last');
    expect(
      await page.evaluate("document.activeElement.className + document.activeElement.getAttribute('aria-disabled')"),
    ).toBe('lasttrue');
    await page.click('.back');
    expect(await page.evaluate(COUNT)).not.toMatch(/^Step (\d+) of \1$/);
  });

  test('a step of the list is shown when it is chosen, also one inside a quiet chain', async () => {
    const page = await open('pair');
    await page.click('.way:first-child .rewrite .where a');
    expect((await page.evaluate<string[]>(CARDS))[0]).toContain('the destination is rewritten');
    await page.evaluate("document.querySelector('.inner').setAttribute('open', '')");
    await page.click('.inner .where a');
    expect((await page.evaluate<string[]>(CARDS))[0]).toContain('raw PREROUTING');
    expect(await page.evaluate("document.querySelector('.each').checked")).toBe(true);
  });

  test('every hop, for whoever wants them all', async () => {
    const page = await open('pair');
    const stops = Number(/of (\d+)/.exec(await page.evaluate<string>(COUNT))?.[1]);
    await page.click('.each');
    const every = Number(/of (\d+)/.exec(await page.evaluate<string>(COUNT))?.[1]);
    expect(every).toBeGreaterThan(stops);
    const shown = new Set<string>();
    for (let i = 0; i < every; i++) {
      for (const step of await page.evaluate<string[]>(
        "[...document.querySelectorAll('#s0 .current')].map(step => step.id)",
      ))
        shown.add(step);
      await page.press('ArrowRight');
    }
    const ids = await page.evaluate<string[]>(
      "[...document.querySelectorAll('#s0 [data-every]')].map(step => step.id)",
    );
    expect([...shown].sort()).toEqual(ids.sort());
  });

  test('an address with a step in it opens there', async () => {
    const page = await open('pair', {}, '#s1-0-2');
    expect(await page.evaluate("document.querySelector('.scene:not(.closed)').id")).toBe('s1');
    expect(await page.evaluate(COUNT)).not.toMatch(/^Step 1 /);
  });

  test('rule text and evidence open on demand', async () => {
    const page = await open('pair');
    for (let i = 0; i < 3; i++) await page.press('ArrowRight');
    expect((await page.evaluate<string[]>(CARDS))[0]).not.toContain('kmsg.txt:4');
    await page.click('.slot .proof summary');
    expect((await page.evaluate<string[]>(CARDS))[0]).toMatch(/-d 10\.96\.164\.231\/32 -p tcp .*kmsg\.txt:4/);
  });

  test('another packet is chosen, and the others go', async () => {
    const page = await open('pair');
    await page.click('nav li:nth-child(2) a');
    expect(await page.evaluate("[...document.querySelectorAll('.scene')].map(one => one.checkVisibility())")).toEqual([
      false,
      true,
      false,
    ]);
    expect(await page.evaluate("document.querySelector('nav [aria-current]').textContent")).toBe(
      'reply to curl: SYN ACK',
    );
  });
});

describe('for whoever does not see it', () => {
  interface Node {
    role: string;
    name: string;
  }

  async function tree(page: Page): Promise<Node[]> {
    const { nodes } = await page.send('Accessibility.getFullAXTree');
    return nodes
      .filter((node: { ignored: boolean }) => !node.ignored)
      .map((node: { role?: { value: string }; name?: { value: string } }) => ({
        role: node.role?.value ?? '',
        name: node.name?.value ?? '',
      }));
  }

  test('landmarks, headings, groups and buttons have their names', async () => {
    const nodes = await tree(await open('pair'));
    const of = (role: string) => nodes.filter(node => node.role === role).map(node => node.name);
    for (const role of ['banner', 'main', 'contentinfo']) expect(of(role), role).toHaveLength(1);
    expect(of('navigation')).toEqual(['Packets']);
    expect(of('region')).toContain('curl beside ping');
    expect(of('figure')).toEqual(['The node · kube-proxy in mode iptables']);
    expect(of('group')).toContain('Steps');
    expect(of('button')).toEqual(['First step', '← Back', 'Next →', 'Last step']);
    expect(of('checkbox')).toEqual(['every hop']);
    expect(of('heading').slice(0, 2)).toEqual(['Trace of default/web:80', 'curl beside ping']);
    expect(of('status')).toHaveLength(1);
    expect(
      nodes.filter(
        node => /^(button|link|checkbox|region|figure|navigation|image)$/.test(node.role) && node.name === '',
      ),
    ).toEqual([]);
  });

  test('each step is said: what it is, of whom, and what changed', async () => {
    const page = await open('pair');
    expect(await page.evaluate(SAID)).toBe('');
    for (let i = 0; i < 6; i++) await page.press('ArrowRight');
    expect(await page.evaluate(SAID)).toMatch(
      /^Step 7 of \d+\. curl: PREROUTING nat KUBE-SEP-SQ6L22RR4FVRTYOQ rule 2\. the destination is rewritten: .*10\.96\.164\.231:80 → 10\.244\.1\.74:8080\. ping: /,
    );
  });

  test('what has the focus is framed', async () => {
    const page = await open('pair');
    for (let i = 0; i < 6; i++) {
      await page.press('Tab');
      const frame = await page.evaluate<string>(
        "getComputedStyle(document.activeElement).outlineStyle + ' ' + getComputedStyle(document.activeElement).outlineWidth",
      );
      expect(frame, await page.evaluate('document.activeElement.outerHTML.slice(0, 80)')).toBe('solid 3px');
    }
  });
});

describe('its policy holds', () => {
  test.each([
    [
      'a script in the page',
      "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)",
    ],
    ['markup from text', "document.body.innerHTML = '<img src=x onerror=window.ran=1>'"],
    ['code from text', "window.ran = eval('1')"],
    ['a request', "await fetch('http://127.0.0.1:9/'); window.ran = 1"],
    [
      'a picture from elsewhere',
      "const i = new Image(); const done = new Promise((yes, no) => { i.onload = yes; i.onerror = no }); i.src = 'http://127.0.0.1:9/x.png'; await done; window.ran = 1",
    ],
  ])('%s is refused', async (_, code) => {
    const page = await open('pair');
    await page.send('Runtime.evaluate', {
      expression: `(async () => { ${code} })()`,
      awaitPromise: true,
      allowUnsafeEvalBlockedByCSP: false,
    });
    expect(await page.evaluate('window.ran')).toBeUndefined();
    await page.complained;
    expect(page.complaints.join()).toMatch(/Content ?Security ?Policy|Trusted ?Type/i);
  });

  test('no word of others became an element', async () => {
    const page = await open('hostile');
    expect(
      await page.evaluate(
        "document.querySelectorAll('img, iframe, object, embed, svg, form').length + document.scripts.length",
      ),
    ).toBe(1);
    expect(await page.evaluate('document.body.innerText')).toContain('<script>alert(1)</script>');
  });
});

test('the browser leaves neither a process nor a profile', async () => {
  const own = await startBrowser(findChromium());
  expect(existsSync(own.profile)).toBe(true);
  await own.close();
  expect(() => process.kill(own.pid, 0)).toThrow(/ESRCH/);
  expect(existsSync(own.profile)).toBe(false);
});

test('without a browser the suite says what to install', () => {
  expect(() => findChromium('/nowhere')).toThrow(/apt-get install chromium/);
});
