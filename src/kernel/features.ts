import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { Features } from '../schemas/inspect.ts';

/** Each module that features are of, and the option that a kernel is built with for it. */
const sources = {
  bridge: ['bridge', 'BRIDGE'],
  veth: ['veth', 'VETH'],
  vxlan: ['vxlan', 'VXLAN'],
  macvlan: ['macvlan', 'MACVLAN'],
  tun: ['tun', 'TUN'],
  nftables: ['nf_tables', 'NF_TABLES'],
  iptablesLegacy: ['ip_tables', 'IP_NF_IPTABLES'],
  bridgeNetfilter: ['br_netfilter', 'BRIDGE_NETFILTER'],
  conntrack: ['nf_conntrack', 'NF_CONNTRACK'],
  ingress: ['sch_ingress', 'NET_SCH_INGRESS'],
  matchall: ['cls_matchall', 'NET_CLS_MATCHALL'],
  police: ['act_police', 'NET_ACT_POLICE'],
} as const satisfies Record<string, readonly [module: string, option: string]>;

/**
 * What the kernel can do, or null where that can't be told.
 *
 * Read from files alone: making  a device to see whether it can be made would show on the machine.
 */
export async function readFeatures(): Promise<Features> {
  const modules = `/lib/modules/${release()}`;
  const [builtin, loadable, config] = await Promise.all([
    readModules(`${modules}/modules.builtin`),
    readModules(`${modules}/modules.dep`),
    readConfig(modules),
  ]);
  const has = (name: keyof typeof sources): boolean | null => {
    const [module, option] = sources[name];
    if (
      existsSync(`/sys/module/${module}`) ||
      builtin?.has(module) === true ||
      loadable?.has(module) === true
    )
      return true;
    if (config !== null) {
      const choice = new RegExp(`^CONFIG_${option}=([ym])$`, 'm').exec(config)?.[1];
      // A container may not see the modules of its machine, which loads them for it all the same.
      if (choice === 'm') return loadable === null ? null : false;
      return choice === 'y';
    }
    return builtin === null || loadable === null ? null : false;
  };
  return {
    bridge: has('bridge'),
    veth: has('veth'),
    vxlan: has('vxlan'),
    macvlan: has('macvlan'),
    tun: has('tun'),
    ipv6: existsSync('/proc/sys/net/ipv6'),
    nftables: has('nftables'),
    iptablesLegacy: has('iptablesLegacy'),
    bridgeNetfilter: has('bridgeNetfilter'),
    conntrack: has('conntrack'),
    policing: all([has('ingress'), has('matchall'), has('police')]),
  };
}

/** Whether all of them are there: not if it is known of one that it is not. */
function all(parts: readonly (boolean | null)[]): boolean | null {
  if (parts.includes(false)) return false;
  return parts.includes(null) ? null : true;
}

/** The names in a list of modules, as /sys/module has them; null if there is no such list. */
async function readModules(path: string): Promise<Set<string> | null> {
  const text = await readIfThere(path);
  if (text === null) return null;
  return new Set(
    [...text.matchAll(/^[^:\n]*?([^/:\n]+)\.ko/gm)].map(([, name = '']) => name.replaceAll('-', '_')),
  );
}

/** What the kernel was built with, from wherever it says so. */
async function readConfig(modules: string): Promise<string | null> {
  try {
    return (await promisify(gunzip)(await readFile('/proc/config.gz'))).toString();
  } catch {
    // Kernels of distributions have it in a file instead.
    return (await readIfThere(`/boot/config-${release()}`)) ?? readIfThere(`${modules}/config`);
  }
}

/** Not every machine has every one of these files. */
async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}
