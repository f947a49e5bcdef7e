import { existsSync, readFileSync } from 'node:fs';
import { HOST } from '../schemas/common.ts';

const DIRECTORY = '/proc/sys/net/bridge';

/**
 * Whether the rules of iptables are asked about what stays within a bridge (`bridge-nf-call-iptables` or the like for
 * IPv6). Of other namespaces than the daemon's own it is taken to be so where the kernel has it: each begins with it on.
 */
export function filtersBridges(namespace: string): boolean {
  if (namespace !== HOST) return existsSync(DIRECTORY);
  return ['iptables', 'ip6tables'].some((tool) => readIfThere(`bridge-nf-call-${tool}`) === '1');
}

function readIfThere(name: string): string | null {
  try {
    return readFileSync(`${DIRECTORY}/${name}`, 'utf8').trim();
  } catch {
    return null;
  }
}
