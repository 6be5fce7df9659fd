/** What an archive is made of, for scanners: CycloneDX as npm writes it, less what is not in the bundles, and with Node. */
import { execFileSync } from 'node:child_process';

/**
 * @param packages those in the bundles
 * @param node {version, sha256} of the Node beside them, if there is one
 * @returns JSON; the same for the same parts, so neither a date nor a number of its own is in it
 */
export function sbomOf(packages, manifest, node) {
  // npm's own choice of what is for development leaves out packages that both need.
  const args = ['sbom', '--sbom-format', 'cyclonedx'];
  const stdio = ['ignore', 'pipe', 'ignore'];
  const made = JSON.parse(
    execFileSync('npm', args, { encoding: 'utf8', stdio, maxBuffer: 1 << 26, shell: process.platform === 'win32' }),
  );
  const { serialNumber: _, ...document } = made;
  const self = componentOfSelf(made.metadata.component, manifest);
  const runtime = node === undefined ? [] : [componentOfNode(node)];
  const components = [...made.components.filter(isOneOf(packages)).sort(byRef), ...runtime];
  const known = new Set([self, ...components].map(one => one['bom-ref']));
  const edges = made.dependencies
    .filter(({ ref }) => known.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(one => known.has(one)).sort() }));
  const dependencies = edges.map(edge =>
    edge.ref === self['bom-ref'] ? { ...edge, dependsOn: [...edge.dependsOn, ...runtime.map(refOf)] } : edge,
  );
  const metadata = { lifecycles: made.metadata.lifecycles, component: self };
  return `${JSON.stringify({ ...document, metadata, components, dependencies: dependencies.sort(byRef) }, undefined, 2)}\n`;
}

function refOf(component) {
  return component['bom-ref'];
}

function byRef(a, b) {
  return (a['bom-ref'] ?? a.ref) < (b['bom-ref'] ?? b.ref) ? -1 : 1;
}

/** npm calls it by the folder it lies in, a library, and private. */
function componentOfSelf(component, { name }) {
  const { properties: _, ...rest } = component;
  return { ...rest, type: 'application', name };
}

function isOneOf(packages) {
  const names = new Set(packages.map(({ name, version }) => `${name}@${version}`));
  return component => names.has(`${component.name}@${component.version}`);
}

function componentOfNode({ version, sha256 }) {
  return {
    'bom-ref': `node@${version}`,
    type: 'platform',
    name: 'node',
    version,
    scope: 'required',
    description: 'Node.js, as its project builds it; its LICENSE names what is in it',
    purl: `pkg:generic/node@${version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    hashes: [{ alg: 'SHA-256', content: sha256 }],
    licenses: [{ license: { id: 'MIT' } }],
    externalReferences: [{ type: 'distribution', url: `https://nodejs.org/dist/v${version}/` }],
  };
}
