/** One page in the browser: what it shows, what it asks for, and everything it complains about. */
import type { Answer, Browser, DevToolsEvent } from './chromium.ts';

export interface View {
  width?: number;
  height?: number;
  scheme?: 'light' | 'dark';
  script?: boolean;
}

export interface Page {
  /** Console errors, exceptions and violations of the page's policy. */
  complaints: string[];
  /** Resolves with the first of them. */
  complained: Promise<void>;
  /** Addresses it asked for, beside its own. */
  requests: string[];
  send(method: string, params?: object): Promise<Answer>;
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  press(key: string): Promise<void>;
  click(selector: string): Promise<void>;
  screenshot(): Promise<Buffer>;
  close(): Promise<void>;
}

export async function openPage(browser: Browser, url: string, view: View = {}): Promise<Page> {
  const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
  const send = (method: string, params?: object) => browser.send(method, params, sessionId);
  const complaints: string[] = [];
  let complain = (_: string) => {};
  const complained = new Promise<void>(resolve => {
    complain = text => {
      complaints.push(text);
      resolve();
    };
  });
  const requests: string[] = [];
  const loaded = watch(browser, sessionId, url, complain, requests);
  for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits', 'Accessibility', 'DOM'])
    await send(`${domain}.enable`);
  await prepare(send, view);
  await send('Page.navigate', { url });
  await loaded;
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    complaints,
    complained,
    requests,
    send,
    evaluate,
    press: key => press(send, key),
    click: selector => click(send, evaluate, selector),
    async screenshot() {
      const { data } = await send('Page.captureScreenshot', { format: 'png' });
      return Buffer.from(data, 'base64');
    },
    close: async () => void (await browser.send('Target.closeTarget', { targetId })),
  };
}

type Send = Page['send'];

async function prepare(
  send: Send,
  { width = 1280, height = 720, scheme = 'light', script = true }: View,
): Promise<void> {
  await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await send('Emulation.setEmulatedMedia', {
    features: [
      { name: 'prefers-color-scheme', value: scheme },
      // Nothing is to be read in the middle of a fade.
      { name: 'prefers-reduced-motion', value: 'reduce' },
    ],
  });
  if (!script) await send('Emulation.setScriptExecutionDisabled', { value: true });
}

/** Notes what goes wrong; resolves when the page has loaded. */
function watch(
  browser: Browser,
  sessionId: string,
  url: string,
  complain: (text: string) => void,
  requests: string[],
): Promise<void> {
  return new Promise(resolve => {
    browser.listen((event: DevToolsEvent) => {
      if (event.sessionId !== sessionId) return;
      const { method, params } = event;
      if (method === 'Page.loadEventFired') resolve();
      if (
        method === 'Network.requestWillBeSent' &&
        params.request.url !== url &&
        !params.request.url.startsWith('data:')
      )
        requests.push(params.request.url);
      if (method === 'Runtime.exceptionThrown') complain(params.exceptionDetails.exception?.description ?? 'exception');
      if (method === 'Runtime.consoleAPICalled') complain(`console.${params.type}`);
      if (method === 'Log.entryAdded') complain(params.entry.text);
      if (method === 'Audits.issueAdded') complain(params.issue.code);
    });
  });
}

const CODES: Record<string, number> = { End: 35, Home: 36, ArrowLeft: 37, ArrowRight: 39, Tab: 9, Enter: 13, ' ': 32 };

async function press(send: Send, key: string): Promise<void> {
  const code = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: CODES[key] };
  const text = { Enter: '\r', ' ': ' ' }[key];
  await send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...code, ...(text ? { text } : {}) });
  await send('Input.dispatchKeyEvent', { type: 'keyUp', ...code });
}

async function click(send: Send, evaluate: Page['evaluate'], selector: string): Promise<void> {
  const at = await evaluate<{ x: number; y: number }>(
    `(() => { const node = document.querySelector(${JSON.stringify(selector)}); node.scrollIntoView({ block: 'center' });
      const box = node.getBoundingClientRect(); return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()`,
  );
  for (const type of ['mousePressed', 'mouseReleased'])
    await send('Input.dispatchMouseEvent', { type, ...at, button: 'left', clickCount: 1 });
}
