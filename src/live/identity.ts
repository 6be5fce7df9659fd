/**
 * Who we are to the API server, as node:https wants it: the agent carries certificates, the headers name the user. What goes through a
 * proxy, or through one of client-go's old plugins, is left to client-node, which is loaded for that alone: it takes longer to load
 * than all else.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createSecureContext } from 'node:tls';
import { TraceError } from '../errors.ts';
import { type Credential, type PluginDeps, runPlugin } from './credentials.ts';
import type { Connection } from './kubeconfig.ts';

export interface Identity {
  agent: http.Agent;
  headers: http.OutgoingHttpHeaders;
}

/** @throws TraceError(usage) where a file is missing, a certificate is none, or a plugin gives no credential */
export async function authenticate(connection: Connection, deps: PluginDeps): Promise<Identity> {
  const credential = connection.exec ? await runPlugin(connection.exec, connection, deps) : {};
  try {
    const { agent, headers } = await identityOf(connection, credential);
    return { agent, headers: { ...headers, ...impersonation(connection) } };
  } catch (error) {
    throw new TraceError('usage', `the kubeconfig's user cannot be used: ${(error as Error).message}`);
  }
}

async function identityOf(connection: Connection, credential: Credential): Promise<Identity> {
  const all = { ...connection, ...credential };
  const token = credential.token ?? tokenOf(connection);
  if (token !== undefined) all.token = token;
  if (all.proxyUrl === undefined && all.authProvider === undefined) return plain(all);
  const { throughClientNode } = await import('./client-node.ts');
  return throughClientNode(all);
}

function plain(connection: Connection): Identity {
  return { agent: agentFor(connection), headers: authorization(connection) };
}

/** A plain http server has no certificate to check; kubectl says no word about it either. */
function agentFor(connection: Connection): http.Agent {
  const { server, tlsServerName, skipTlsVerify } = connection;
  if (server.startsWith('http:')) return new http.Agent({ keepAlive: true });
  const options: https.AgentOptions = {
    keepAlive: true,
    ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
    ...(skipTlsVerify ? { rejectUnauthorized: false } : {}),
    ...certificates(connection),
  };
  // Else the first request would find out, and throw what nobody expects of it.
  createSecureContext(options);
  return new https.Agent(options);
}

function certificates({ caFile, caData, certFile, certData, keyFile, keyData }: Connection): https.AgentOptions {
  const [ca, cert, key] = [pem(caFile, caData), pem(certFile, certData), pem(keyFile, keyData)];
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** A kubeconfig's data fields hold PEM in base64, and come before its files. */
function pem(file: string | undefined, data: string | undefined): Buffer | undefined {
  if (data !== undefined) return Buffer.from(data, 'base64');
  return file === undefined ? undefined : readFileSync(file);
}

function authorization({ token, username, password }: Connection): http.OutgoingHttpHeaders {
  if (username !== undefined)
    return { Authorization: `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` };
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

function tokenOf({ token, tokenFile }: Connection): string | undefined {
  if (tokenFile === undefined) return token;
  try {
    return readFileSync(tokenFile, 'utf8').trim() || token;
  } catch {
    return token;
  }
}

/** https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation */
function impersonation({ impersonate }: Connection): http.OutgoingHttpHeaders {
  if (!impersonate) return {};
  const headers: http.OutgoingHttpHeaders = { 'Impersonate-User': impersonate.user };
  if (impersonate.groups.length > 0) headers['Impersonate-Group'] = impersonate.groups;
  if (impersonate.uid !== undefined) headers['Impersonate-Uid'] = impersonate.uid;
  for (const [key, values] of Object.entries(impersonate.extra))
    headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = values;
  return headers;
}
