import type { BridgeIntent } from '../schemas/bridge.ts';
import { invalidField } from './problem.ts';

/** What the schema can't say of the resolvers of a bridge. */
export function checkDns({ dns = [], subnets }: BridgeIntent): void {
  if (dns.length > 0 && subnets.length === 0)
    throw invalidField(
      '/dns',
      'needs `subnets`: names are for namespaces that are in one; add some, or leave it out',
    );
  const linkLocal = dns.findIndex((address) => /^fe[89ab]/i.test(address));
  if (linkLocal !== -1)
    throw invalidField(
      `/dns/${linkLocal}`,
      `${dns[linkLocal]} is a link-local address, which says nothing without an interface; give another one`,
    );
}
