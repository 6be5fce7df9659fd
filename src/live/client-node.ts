/** client-node's part: it knows proxies (http, https, socks) and client-go's old plugins (oidc, azure, gcp). */
import type http from 'node:http';
import type https from 'node:https';
import { createSecureContext } from 'node:tls';
import { KubeConfig } from '@kubernetes/client-node';
import type { Identity } from './identity.ts';
import type { Connection } from './kubeconfig.ts';

/** @throws Error where a file cannot be read, or a plugin does not work */
export async function throughClientNode(connection: Connection): Promise<Identity> {
  const options = { headers: {} } as https.RequestOptions & { headers: http.OutgoingHttpHeaders };
  await clientNodeConfig(connection).applyToHTTPSOptions(options);
  createSecureContext({ ca: options.ca, cert: options.cert, key: options.key });
  // client-node makes its agent without keep-alive, and hands down no option for it.
  const agent = options.agent as http.Agent & { keepAlive?: boolean; options: object };
  agent.keepAlive = true;
  Object.assign(agent.options, { keepAlive: true });
  const headers: http.OutgoingHttpHeaders = { ...options.headers };
  if (options.auth) headers.Authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  return { agent, headers };
}

function clientNodeConfig(connection: Connection): KubeConfig {
  const { caFile, caData, certFile, certData, keyFile, keyData, tlsServerName, proxyUrl } = connection;
  const { token, username, password, authProvider } = connection;
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [
      {
        name: 'c',
        server: connection.server,
        // What kubectl does without a word: a plain http server has no certificate to check.
        skipTLSVerify: connection.skipTlsVerify || connection.server.startsWith('http:'),
        ...defined({ caFile: caData === undefined ? caFile : undefined, caData, tlsServerName, proxyUrl }),
      },
    ],
    users: [
      {
        name: 'u',
        ...defined({ certFile: certData === undefined ? certFile : undefined, certData }),
        ...defined({ keyFile: keyData === undefined ? keyFile : undefined, keyData }),
        ...defined({ token, username, password, authProvider }),
      },
    ],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  return config;
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, own]) => own !== undefined)) as T;
}
