/** Report -> text in the format that was asked for. */
import type { Report } from '../model.ts';
import type { Format } from './formats.ts';
import { renderHtml } from './html/page.ts';
import { renderJson, renderYaml } from './json.ts';
import { renderMarkdown } from './markdown.ts';
import { renderMermaid } from './mermaid.ts';
import type { Style } from './style.ts';
import { renderTree } from './tree.ts';
import { renderWide } from './wide.ts';

export function render(report: Report, format: Format, style: Style): string {
  switch (format) {
    case 'tree':
      return renderTree(report, style);
    case 'wide':
      return renderWide(report, style);
    case 'json':
      return renderJson(report);
    case 'yaml':
      return renderYaml(report);
    case 'markdown':
      return renderMarkdown(report);
    case 'mermaid':
      return renderMermaid(report);
    case 'html':
      return renderHtml(report);
  }
}
