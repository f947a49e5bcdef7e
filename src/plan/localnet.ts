import type { Firewall, KernelState, Sysctl } from '../kernel/state.ts';
import type { Ref } from '../schemas/common.ts';
import { localnetKey } from '../schemas/nat.ts';
import { CHAINS, frameOf } from './firewall.ts';
import { makeChainRule } from './rule.ts';

/**
 * What a port that is published at 127.0.0.1 needs besides its rules. A packet from 127.0.0.1 leaves by no interface but
 * lo, unless that one has `route_localnet` (ip-sysctl.rst), and with that the kernel takes packets from and to
 * 127.0.0.0/8 by it too: whoever is behind it could reach what listens at 127.0.0.1 only (CVE-2020-8558). So
 *
 *     PREROUTING (raw) … -> NETNSD-RAW    drops what comes from or goes to 127.0.0.0/8 and has not come by lo
 *     OUTPUT (nat) …     -> NETNSD-LOCAL  translates what is sent to published ports of 127.0.0.1
 *
 * stands first, and the sysctl is set for that one interface only.
 */
export function addLocalnet(state: KernelState, firewall: Firewall, device: string, serves: Ref): void {
  addGuard(firewall, serves);
  const { namespace } = firewall;
  const key = localnetKey(device);
  const id = `${namespace} ${key}`;
  // The interface is netnsd's own, or was taken over: off is what the kernel begins with.
  const sysctl: Sysctl = { serves, namespace, key, value: '1', before: '0' };
  if (!state.sysctls.has(id)) state.sysctls.set(id, sysctl);
}

/** The guard and the chain of 127.0.0.1, with the jumps to them. */
export function addGuard(firewall: Firewall, serves: Ref): void {
  const { chain, jump } = frameOf(firewall, serves);
  const drop = (match: string): string => makeChainRule('raw', CHAINS.raw, match, 'DROP').spec;
  chain('raw', CHAINS.raw, [drop('-s 127.0.0.0/8 ! -i lo'), drop('-d 127.0.0.0/8 ! -i lo')]);
  chain('nat', CHAINS.local);
  jump('raw', 'PREROUTING', '', CHAINS.raw);
  jump('nat', 'OUTPUT', '-d 127.0.0.0/8', CHAINS.local);
}
