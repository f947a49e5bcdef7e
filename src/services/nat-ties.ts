import type { Family } from '../schemas/address.ts';

/** How the firewall of a family stands in needs. */
export function firewallTie(family: Family): string {
  return `firewall ${family}`;
}

/** How a port published at 127.0.0.1 stands in needs: for the namespace, and for the interface that it needs. */
export function localnetTie(device?: string): string {
  return device === undefined ? 'localnet' : `localnet ${device}`;
}
