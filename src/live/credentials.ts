/**
 * Credential plugins (client-go `exec`): run once a run, with KUBERNETES_EXEC_INFO, its words shown as they come. client-node
 * runs them for every request, without it, and swallows what a device-code login has to say.
 */
import { spawn } from 'node:child_process';
import { TraceError } from '../errors.ts';
import type { Connection, ExecPlugin } from './kubeconfig.ts';

export interface Credential {
  token?: string;
  certData?: string;
  keyData?: string;
}

export interface PluginDeps {
  env: Record<string, string | undefined>;
  /** A person sits at the terminal: the plugin may ask. */
  interactive: boolean;
}

const TIMEOUT_MS = 120_000;
const MOST_OUTPUT = 1024 * 1024;

/** @throws TraceError(usage) where the plugin is missing, fails, or says nothing that helps */
export async function runPlugin(plugin: ExecPlugin, connection: Connection, deps: PluginDeps): Promise<Credential> {
  const asks = plugin.interactiveMode !== 'Never' && deps.interactive;
  if (plugin.interactiveMode === 'Always' && !asks)
    throw new TraceError(
      'usage',
      `the credential plugin ${plugin.command} needs a terminal to ask at`,
      'Log in first, or run this where a person sits.',
    );
  return credentialOf(plugin, await outputOf(plugin, connection, deps, asks));
}

function outputOf(plugin: ExecPlugin, connection: Connection, deps: PluginDeps, asks: boolean): Promise<string> {
  const info = { apiVersion: plugin.apiVersion, kind: 'ExecCredential', spec: specOf(plugin, connection, asks) };
  const child = spawn(plugin.command, plugin.args, {
    env: { ...deps.env, ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    stdio: [asks ? 'inherit' : 'ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT_MS,
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    if (output.length < MOST_OUTPUT) output += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', error => reject(pluginError(plugin, error.message)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output);
      else if (signal !== null)
        reject(pluginError(plugin, `it was ended after ${TIMEOUT_MS / 1000} s or by ${signal}`));
      else reject(pluginError(plugin, `it ended with code ${code}`));
    });
  });
}

function specOf(plugin: ExecPlugin, connection: Connection, interactive: boolean): object {
  if (!plugin.provideClusterInfo) return { interactive };
  const cluster = {
    server: connection.server,
    'certificate-authority-data': connection.caData,
    'tls-server-name': connection.tlsServerName,
    'insecure-skip-tls-verify': connection.skipTlsVerify || undefined,
    'proxy-url': connection.proxyUrl,
  };
  return { interactive, cluster };
}

function pluginError(plugin: ExecPlugin, why: string): TraceError {
  return new TraceError(
    'usage',
    `the credential plugin ${plugin.command} gave no credential: ${why}`,
    plugin.installHint ?? 'Try it by hand; kubectl uses the same one.',
  );
}

function credentialOf(plugin: ExecPlugin, output: string): Credential {
  let status: Record<string, unknown> | undefined;
  try {
    status = (JSON.parse(output) as { status?: Record<string, unknown> }).status;
  } catch {
    throw pluginError(plugin, 'what it printed is no JSON');
  }
  const credential: Credential = {};
  if (typeof status?.token === 'string') credential.token = status.token;
  if (typeof status?.clientCertificateData === 'string') credential.certData = base64(status.clientCertificateData);
  if (typeof status?.clientKeyData === 'string') credential.keyData = base64(status.clientKeyData);
  if (credential.token === undefined && credential.certData === undefined)
    throw pluginError(plugin, 'its answer has neither a token nor a certificate');
  return credential;
}

/** The plugin gives PEM; a kubeconfig's data fields hold it in base64. */
function base64(pem: string): string {
  return Buffer.from(pem).toString('base64');
}
