import type { Family } from '../schemas/address.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import { IPV4_FORWARDING, isSameValue } from '../schemas/sysctl.ts';
import type { Intended } from './intended.ts';
import type { SeenNetconf } from './watch-window.ts';

/** Of each sysctl of an interface that somebody has written, whether it has the value that it is to have. */
export function sameness(
  { interface: name, sysctls = {} }: Intended,
  { latest: { family, fields }, written }: SeenNetconf,
  ofNamespace: Readonly<Record<string, string>>,
): boolean[] {
  return Object.entries(sysctls).flatMap(([key, value]) => {
    const whole = sysctlOfInterface(name, key);
    const { field } = partsOfSysctl(family, whole);
    const told = written.has(field) ? fields[field] : undefined;
    // Who says it of the namespace means it.
    if (told === undefined || ofNamespace[whole] !== undefined) return [];
    return [isSameValue(told, value)];
  });
}

/** Of a sysctl that the kernel tells of; empty for any other. */
export function partsOfSysctl(family: Family, key: string): { device: string; field: string } {
  const name = key === IPV4_FORWARDING.name ? IPV4_FORWARDING.alias : key;
  const [, device = '', field = ''] =
    new RegExp(`^net\\.ipv${family}\\.conf\\.(.+)\\.([^.]+)$`).exec(name) ?? [];
  return { device, field };
}

/** `all` and `default` are no devices. */
export function isWhole(what: string): boolean {
  return what === 'all' || what === 'default';
}
