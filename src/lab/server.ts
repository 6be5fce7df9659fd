/**
 * What listens in a lab's pods: answers every request with the pod's name, so that who answered can be told. Runs as a
 * program of its own under the same Node; written as text because the bundle has one entry.
 */

/** Arguments: name, address, port, and `tls` for the API server. Writes /run/ready-NAME when it listens. */
export const SERVER = `
const [name, address, port, tls] = process.argv.slice(1);
const { writeFileSync } = require('node:fs');
const answer = (_, response) => response.end(name + '\\n');
const server = tls
  ? require('node:https').createServer({ key: process.env.TS_KEY, cert: process.env.TS_CERT }, answer)
  : require('node:http').createServer(answer);
server.listen(Number(port), address, () => writeFileSync('/run/ready-' + name, ''));
`;
