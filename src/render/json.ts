/** The report as one JSON or YAML document, nothing recomputed. Schema: docs/report.schema.json. */

import type { Report } from '../model.ts';
import { stringifyYaml } from '../yaml.ts';
import { escapeJson, escapeReport } from './escape.ts';

export function renderJson(report: Report): string {
  return `${escapeJson(JSON.stringify(report, undefined, 2))}\n`;
}

/** YAML has no way to write every control character in every style, so they are made visible as in the tree. */
export function renderYaml(report: Report): string {
  return stringifyYaml(JSON.parse(JSON.stringify(escapeReport(report))), { lineWidth: 0 });
}
