/** Reads the pages the program writes, and nothing looser: what does not fit the grammar below is a fault. */

export interface Element {
  tag: string;
  attributes: Map<string, string>;
  /** Texts and elements, in order. */
  content: (string | Element)[];
}

const VOID = new Set(['meta', 'link', 'input']);
const ATTRIBUTE = / ([a-z-]+)(?:="([^"<>]*)")?/g;
/** A style or script with its text; a tag; a text. */
const PART = /<(style|script)>([\s\S]*?)<\/\1>|<(\/?)([a-z][a-z0-9]*)((?: [a-z-]+(?:="[^"<>]*")?)*)>|([^<]+)/y;

/** @throws where a tag is not closed, an attribute not quoted, or a `<` or `&` stands in a text */
export function readPage(page: string): Element {
  const root: Element = { tag: '#', attributes: new Map(), content: [] };
  const open = [root];
  if (!page.startsWith('<!doctype html>\n')) throw new Error('no doctype');
  PART.lastIndex = '<!doctype html>\n'.length;
  while (PART.lastIndex < page.length) {
    const at = PART.lastIndex;
    const part = PART.exec(page);
    if (!part) throw new Error(`not a tag: ${page.slice(at, at + 80)}`);
    const [, raw, inside = '', slash = '', tag, rest = '', text = ''] = part;
    if (raw !== undefined) top(open).content.push({ tag: raw, attributes: new Map(), content: [inside] });
    else if (tag === undefined) top(open).content.push(decode(text));
    else takeTag(slash, tag, rest, open);
  }
  if (open.length !== 1) throw new Error(`not closed: ${top(open).tag}`);
  return root;
}

function takeTag(slash: string, tag: string, rest: string, open: Element[]): void {
  if (slash === '/') {
    const closed = open.pop();
    if (closed?.tag !== tag || rest !== '') throw new Error(`</${tag}> closes ${closed?.tag}`);
    return;
  }
  const attributes = new Map([...rest.matchAll(ATTRIBUTE)].map(([, name = '', value = '']) => [name, decode(value)]));
  const element: Element = { tag, attributes, content: [] };
  top(open).content.push(element);
  if (!VOID.has(tag)) open.push(element);
}

function top(open: Element[]): Element {
  return open.at(-1) as Element;
}

function decode(text: string): string {
  if (/&(?!#\d+;)/.test(text)) throw new Error(`a bare & in: ${text.slice(0, 80)}`);
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)));
}

export function all(element: Element, is: (element: Element) => boolean): Element[] {
  const inside = element.content.filter(part => typeof part !== 'string');
  return inside.flatMap(part => [...(is(part) ? [part] : []), ...all(part, is)]);
}

export function withClass(element: Element, name: string): Element[] {
  return all(element, one => (one.attributes.get('class') ?? '').split(' ').includes(name));
}

export function withTag(element: Element, tag: string): Element[] {
  return all(element, one => one.tag === tag);
}

/** The words of an element, without those of its style and script. */
export function textOf(element: Element): string {
  if (element.tag === 'style' || element.tag === 'script') return '';
  return element.content.map(part => (typeof part === 'string' ? part : textOf(part))).join('');
}
