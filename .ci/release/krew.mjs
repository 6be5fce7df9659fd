/** krew-manifest.yaml with the version, the repository and the sums of a release, and the template krew-release-bot fills in. Comments stay. */

const OWNER = 'OWNER/kubectl-trace-svc';

/**
 * @param template text of krew-manifest.yaml
 * @param sums sha256 of each archive, by pair
 * @throws Error where the manifest names an archive that was not made
 */
export function krewManifest(template, { version, repository, sums }) {
  const filled = atVersion(template, version).replaceAll(OWNER, repository);
  return withoutHead(filled).replace(
    /^( *uri: \S*-([a-z]+-[a-z0-9]+)\.tar\.gz\n *sha256: ).*$/gm,
    (_, before, pair) => {
      if (sums[pair] === undefined) throw new Error(`krew-manifest.yaml names ${pair}, of which there is no archive`);
      return `${before}"${sums[pair]}"`;
    },
  );
}

/** The bot fetches the archives itself (https://github.com/rajatjindal/krew-release-bot). */
export function botTemplate(template, repository) {
  return withoutHead(template)
    .replaceAll(OWNER, repository)
    .replace(/^( *version: ).*$/m, '$1{{ .TagName }}')
    .replace(
      /^( *)uri: (\S*?\/releases\/download\/)v[^/]+\/(\S*?)-v[\d.]+(?:-[\w.]+?)?-([a-z]+-[a-z0-9]+\.tar\.gz)\n.*$/gm,
      '$1{{addURIAndSha "$2{{ .TagName }}/$3-{{ .TagName }}-$4" .TagName }}',
    );
}

function atVersion(template, version) {
  const before = /^ {2}version: (v\S+)$/m.exec(template)?.[1];
  if (before === undefined) throw new Error('krew-manifest.yaml has no version');
  return template.replaceAll(before, `v${version}`);
}

/** What stands above the manifest is about the file in git. */
function withoutHead(text) {
  return text.replace(/^(#.*\n)+/, '');
}
