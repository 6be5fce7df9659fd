/** What of others is in an archive, and under which terms: the packages in the bundles, and Node. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/**
 * @param inputs paths of files that were bundled, from the project's root
 * @returns {name, version, license, path} of each package among them, by name
 */
export function packagesOf(inputs) {
  const paths = inputs.flatMap(input => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []);
  return [...new Set(paths)]
    .map(path => {
      const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8'));
      return { name, version, license, path };
    })
    .sort((a, b) => (`${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1));
}

/** @throws Error for a package that does not say under which licence it is */
export function noticesOf(packages, nodeVersion, nodeLicence) {
  const parts = packages.map(
    one => `${heading(`${one.name} ${one.version} (${licenceName(one)})`)}${licenceText(one)}\n`,
  );
  return [
    'kubectl trace-svc is under the Apache License 2.0 (LICENSE). It contains, or comes with, what follows.\n',
    ...parts,
    ...(nodeLicence === undefined
      ? []
      : [`${heading(`Node.js ${nodeVersion}`)}${nodeLicence.toString('utf8').trim()}\n`]),
  ].join('\n');
}

function heading(text) {
  return `${'='.repeat(80)}\n${text}\n${'='.repeat(80)}\n\n`;
}

function licenceName({ name, license }) {
  if (typeof license !== 'string' || license === '') throw new Error(`${name} does not say its licence`);
  return license;
}

function licenceText({ path, name }) {
  const files = existsSync(path)
    ? readdirSync(path).filter(file => /^((un)?licen[cs]e|copying|notice)/i.test(file))
    : [];
  if (files.length === 0) throw new Error(`${name} comes without the text of its licence`);
  return files
    .sort()
    .map(file => readFileSync(`${path}/${file}`, 'utf8').trim())
    .join('\n\n');
}
