/** A road to a server that can be broken: connections pass through it until they are cut, or nobody is let in any more. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Road {
  port: number;
  /** Ends every connection there is; new ones are let in. */
  cut(): void;
  /** And lets nobody in from now on. */
  close(): void;
}

export async function openRoad(host: string, port: number): Promise<Road> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  };
  const server = createServer(near => {
    const far = keep(connect(port, host));
    keep(near).once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close() {
      server.close();
      cut();
    },
  };
}
