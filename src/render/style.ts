/** Colours, widths and wrapping. Meaning never hangs on a colour alone. */
import pc from 'picocolors';

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
  note(text: string): string;
  /** A rewrite: the one thing nobody may overlook. */
  rewrite(text: string): string;
  width: number;
}

/** What the output goes to; the width in columns. */
export interface Terminal {
  colour: boolean;
  width: number;
}

export function styleFor({ colour, width }: Terminal): Style {
  return createStyle(colour, width);
}

export function createStyle(colour: boolean, width: number): Style {
  const c = pc.createColors(colour);
  return {
    bold: c.bold,
    dim: c.dim,
    good: c.green,
    bad: c.red,
    warn: c.yellow,
    note: c.cyan,
    rewrite: text => c.bold(c.magenta(text)),
    width,
  };
}

/** Cuts a text at spaces; a word longer than the line is cut where it must be. */
export function wrap(text: string, width: number): string[] {
  const room = Math.max(width, 20);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    let rest = word;
    if (line !== '' && line.length + 1 + rest.length > room) {
      lines.push(line);
      line = '';
    }
    while (rest.length > room) {
      lines.push(rest.slice(0, room));
      rest = rest.slice(room);
    }
    line = line === '' ? rest : `${line} ${rest}`;
  }
  lines.push(line);
  return lines;
}

/** Keeps both ends of a name that is too long: they are what tells two of them apart. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const tail = Math.floor((width - 1) / 3);
  return `${text.slice(0, width - 1 - tail)}…${tail > 0 ? text.slice(-tail) : ''}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
