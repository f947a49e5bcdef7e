import { isIP, type Socket } from 'node:net';
import bearerAuth from '@fastify/bearer-auth';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '../services/problem.ts';

/** How requests arrive at one of the places where netnsd listens. */
export interface Entrance {
  transport: 'unix' | 'tcp';
  /** Whether a request must carry the token. */
  needsToken: boolean;
  /** Host names, beside `localhost` and plain addresses, by which it may be called. */
  hostNames: readonly string[];
}

interface AccessOptions {
  token: string;
  /** The entrance that a connection came in by; undefined for none, which is refused. */
  entranceOf: (socket: Socket) => Entrance | undefined;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route answers without a token: what says nothing of the networks of this machine. */
    isPublic?: boolean;
  }
}

/**
 * Who reaches this API is root on the network (CVE-2025-9074 was an unauthenticated one that containers could
 * reach), so a request over TCP carries a token, and comes from no web page but our own.
 */
export async function access(app: FastifyInstance, { token, entranceOf }: AccessOptions): Promise<void> {
  await app.register(bearerAuth, { keys: new Set([token]), addHook: false, verifyErrorLogLevel: 'info' });
  app.addHook('onRequest', (request, reply, done) => {
    const entrance = entranceOf(request.raw.socket);
    if (entrance?.transport === 'unix') {
      done();
      return;
    }
    const refusal =
      entrance === undefined
        ? new Problem('forbidden', 'the connection came by no known way')
        : refuseForeign(request, entrance);
    const isOpen = request.routeOptions.config.isPublic === true || entrance?.needsToken === false;
    const verify = app.verifyBearerAuth;
    if (refusal !== null) done(refusal);
    else if (isOpen) done();
    else if (verify === undefined) done(new Problem('unauthenticated', 'there is no token to compare with'));
    else verify(request, reply, done);
  });
}

/**
 * A page of another site may have its name resolve to 127.0.0.1 (DNS rebinding), or just send a request here;
 * the browser says in Host and Origin whom it believes to talk to and for whom it does.
 */
function refuseForeign(request: FastifyRequest, { hostNames }: Entrance): Problem | null {
  const { host, origin } = request.headers;
  const name = hostNameOf(host ?? '');
  if (name !== 'localhost' && isIP(name) === 0 && !hostNames.includes(name))
    return new Problem(
      'forbidden',
      `the Host header says ${JSON.stringify(host ?? '')}; call netnsd by an address or as localhost`,
    );
  if (origin !== undefined && origin !== `http://${host ?? ''}`)
    return new Problem(
      'forbidden',
      `the Origin header says ${JSON.stringify(origin)}; requests from pages of other sites are refused`,
    );
  return null;
}

/** The host of `host:port`, without the brackets of an IPv6 address. */
function hostNameOf(host: string): string {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(host)?.[1];
  return bracketed ?? host.replace(/:\d+$/, '').toLowerCase();
}
