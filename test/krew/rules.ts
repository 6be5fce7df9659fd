/**
 * krew's rules for a manifest, restated: those it refuses by (internal/index/validation/validate.go, cmd/validate-krew-manifest, and
 * the semver it parses with), and those its reviewers ask for (docs/krew.md).
 */

export interface Platform {
  uri?: string;
  sha256?: string;
  bin?: string;
  selector?: { matchLabels?: Record<string, string>; matchExpressions?: unknown[] };
  files?: { from?: string; to?: string }[];
}

export interface Manifest {
  apiVersion?: string;
  kind?: string;
  metadata?: { name?: string };
  spec?: {
    version?: string;
    homepage?: string;
    shortDescription?: string;
    description?: string;
    caveats?: string;
    platforms?: Platform[];
  };
}

const SEMVER = /^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z.-]+)?$/;
/** Names that Windows keeps for itself. */
const RESERVED = /^(con|prn|aux|nul|com[1-9]|lpt[1-9])$/i;
/** What krew can be on. */
const PAIRS = [
  ...['386', 'amd64', 'arm64'].map(arch => `windows/${arch}`),
  ...['386', 'amd64', 'arm', 'arm64', 'ppc64le'].map(arch => `linux/${arch}`),
  ...['386', 'amd64', 'arm64'].map(arch => `darwin/${arch}`),
];

/** @returns what is wrong with it, a line each */
export function refusals(manifest: Manifest, fileName: string): string[] {
  const { apiVersion, kind, metadata, spec = {} } = manifest;
  const name = metadata?.name ?? '';
  const platforms = spec.platforms ?? [];
  return [
    ...unless(apiVersion === 'krew.googlecontainertools.github.com/v1alpha2', 'apiVersion'),
    ...unless(kind === 'Plugin', 'kind'),
    ...unless(/^[\w-]+$/.test(name) && !RESERVED.test(name), 'name'),
    ...unless(`${name}.yaml` === fileName, 'file name'),
    ...unless(/^[^\r\n]+$/.test(spec.shortDescription ?? ''), 'short description'),
    ...unless(SEMVER.test(spec.version ?? ''), 'version'),
    ...unless(platforms.length > 0, 'platforms'),
    ...platforms.flatMap((platform, i) => platformRefusals(platform).map(what => `platform ${i}: ${what}`)),
    ...overlaps(platforms),
  ];
}

function unless(holds: boolean, what: string): string[] {
  return holds ? [] : [what];
}

function platformRefusals({ uri, sha256, bin, selector, files }: Platform): string[] {
  const labels = selector?.matchLabels;
  const complete = (files ?? [{ from: 'x', to: 'y' }]).every(({ from, to }) => from && to);
  return [
    ...unless(/^https:\/\/\S+$/.test(uri ?? ''), 'uri'),
    ...unless(/^[a-f0-9]{64}$/.test(sha256 ?? ''), 'sha256'),
    ...unless(bin !== undefined && bin !== '', 'bin'),
    ...unless(files === undefined || (files.length > 0 && complete), 'files'),
    ...unless(labels !== undefined && Object.keys(labels).length > 0, 'selector'),
    ...unless(
      Object.keys(labels ?? {}).every(key => key === 'os' || key === 'arch'),
      'key of the selector',
    ),
    ...unless(chosen({ ...(selector && { selector }) }).length > 0, 'selector chooses nothing'),
  ];
}

function chosen({ selector }: Platform): string[] {
  const { os, arch } = selector?.matchLabels ?? {};
  return PAIRS.filter(pair => {
    const [itsOs, itsArch] = pair.split('/');
    return (os ?? itsOs) === itsOs && (arch ?? itsArch) === itsArch;
  });
}

function overlaps(platforms: Platform[]): string[] {
  const all = platforms.flatMap(chosen);
  return [...new Set(all.filter((pair, i) => all.indexOf(pair) < i))].map(pair => `${pair} is chosen twice`);
}

/** @returns what reviewers would send it back for */
export function objections({ spec = {} }: Manifest): string[] {
  const { shortDescription = '', description = '', caveats = '' } = spec;
  return [
    ...unless(shortDescription.length <= 50, 'short description is longer than 50'),
    ...unless(!/plugin|kubectl/i.test(shortDescription), 'short description names kubectl or the plugin'),
    ...unless(!/\.$/.test(shortDescription), 'short description ends with a dot'),
    ...unless(!/(^|\s)--\w|\$ |kubectl /.test(description), 'description has examples or flags'),
    ...[description, caveats].flatMap(text => unless(!/.{91}/.test(text), 'long lines')),
    ...(spec.platforms ?? []).flatMap(({ selector, bin = '' }) =>
      unless((selector?.matchLabels?.os === 'windows') === bin.endsWith('.exe'), 'Windows runs .exe alone'),
    ),
  ];
}
