/**
 * Credential plugins (client-go `exec`): run once a run, with KUBERNETES_EXEC_INFO, its words shown as they come. client-node
 * runs them for every request, without it, and swallows what a device-code login has to say.
 */
import { readFileSync } from 'node:fs';
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
  /** How long a plugin may take; somebody may have to type a code at another place. */
  pluginTimeoutMs?: number;
  /** Its words on standard error are not for anybody. */
  quiet?: boolean;
}

const TIMEOUT_MS = 120_000;
const MOST_OUTPUT = 1024 * 1024;

/** @throws TraceError(usage) where the plugin is missing, fails, or says nothing that helps */
export async function runPlugin(plugin: ExecPlugin, connection: Connection, deps: PluginDeps): Promise<Credential> {
  if (plugin.command === '') throw pluginError(plugin, 'the kubeconfig names no command');
  const asks = plugin.interactiveMode !== 'Never' && deps.interactive;
  if (plugin.interactiveMode === 'Always' && !asks)
    throw new TraceError(
      'usage',
      `the credential plugin ${plugin.command} needs a terminal to ask at`,
      'Log in first, or run this where a person sits.',
    );
  return credentialOf(plugin, await outputOf(plugin, connection, deps, asks));
}

async function outputOf(plugin: ExecPlugin, connection: Connection, deps: PluginDeps, asks: boolean): Promise<string> {
  const { spawn } = await import('node:child_process');
  const info = { apiVersion: plugin.apiVersion, kind: 'ExecCredential', spec: specOf(plugin, connection, asks) };
  const child = spawn(plugin.command, plugin.args, {
    env: { ...deps.env, ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    stdio: [asks ? 'inherit' : 'ignore', 'pipe', deps.quiet ? 'ignore' : 'inherit'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    if (output.length < MOST_OUTPUT) output += chunk;
  });
  const { pluginTimeoutMs = TIMEOUT_MS } = deps;
  return new Promise((resolve, reject) => {
    // What it started may outlive it and hold its output open: that is not waited for.
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      child.stdout?.destroy();
      reject(pluginError(plugin, `it took longer than ${pluginTimeoutMs / 1000} s`));
    }, pluginTimeoutMs);
    child.once('error', error => reject(pluginError(plugin, whyNotStarted(error))));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output);
      else reject(pluginError(plugin, signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`));
    });
    child.once('close', () => clearTimeout(late));
    child.once('error', () => clearTimeout(late));
  });
}

function whyNotStarted({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such program';
  return code === 'EACCES' ? 'it may not be run' : message;
}

function specOf(plugin: ExecPlugin, connection: Connection, interactive: boolean): object {
  if (!plugin.provideClusterInfo) return { interactive };
  const cluster = {
    server: connection.server,
    'certificate-authority-data': connection.caData ?? dataOf(connection.caFile),
    'tls-server-name': connection.tlsServerName,
    'insecure-skip-tls-verify': connection.skipTlsVerify || undefined,
    'proxy-url': connection.proxyUrl,
    config: connection.execConfig,
  };
  return { interactive, cluster };
}

function dataOf(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file).toString('base64');
  } catch (error) {
    throw new TraceError('usage', `the certificate authority ${file} cannot be read: ${(error as Error).message}`);
  }
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
