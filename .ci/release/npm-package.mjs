/** The npm package: the bundles, so nothing else has to be installed, and a package.json that says only what its users need. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * @param files {path, data, mode} beside package.json
 * @param out the folder the .tgz goes to
 * @returns its name
 */
export function packNpm(manifest, repository, files, out) {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-release-'));
  try {
    const text = `${JSON.stringify(publicManifest(manifest, repository), undefined, 2)}\n`;
    for (const { path, data, mode } of [...files, { path: 'package.json', data: text, mode: 0o644 }]) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), data, { mode });
    }
    const args = ['pack', '--silent', '--pack-destination', out];
    const stdio = ['ignore', 'pipe', 'inherit'];
    return execFileSync('npm', args, {
      cwd: folder,
      encoding: 'utf8',
      stdio,
      shell: process.platform === 'win32',
    }).trim();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `private` keeps the working copy from being published; dependencies are in the bundles; scripts are for those who build it. */
export function publicManifest(manifest, repository) {
  const { private: _, dependencies, devDependencies, scripts, ...rest } = manifest;
  const url = `https://github.com/${repository}`;
  return {
    ...rest,
    homepage: `${url}#readme`,
    bugs: `${url}/issues`,
    repository: { type: 'git', url: `git+${url}.git` },
    files: ['dist', 'plugin', 'THIRD-PARTY-NOTICES', 'CHANGELOG.md'],
    // npm holds the repository above against the workflow that publishes (docs/release.md).
    publishConfig: { access: 'public', provenance: true },
  };
}
