import {
  explainAddress,
  explainDestination,
  explainInterfaceAddress,
  explainMulticast,
  explainNetwork,
} from './address.ts';
import { explainAddressOrAuto, explainGateway, explainSubnet } from './ipam.ts';
import { explainReserved } from './range.ts';

/**
 * The string formats of the API that a regular expression can't say. Each function gives what is wrong with a
 * value, as a sentence for the client, or null; the validator refuses what gets a sentence.
 */
export const formats = {
  'ip-address': explainAddress,
  'multicast-address': explainMulticast,
  'interface-address': explainInterfaceAddress,
  'interface-address-or-auto': explainAddressOrAuto,
  gateway: explainGateway,
  subnet: explainSubnet,
  'address-range': explainReserved,
  'ip-network': explainNetwork,
  'route-destination': explainDestination,
  'mac-address': explainMac,
  'port-range': explainPortRange,
  'published-port': (text) => (text === AUTO_PORT ? null : explainPortRange(text, ` nor ${AUTO_PORT}`)),
} as const satisfies Record<string, (text: string) => string | null>;

export type FormatName = keyof typeof formats;

/** In place of a port: netnsd takes a free one. */
export const AUTO_PORT = 'auto';

/** Splits `80` or `8000-8010`; the text has the format `port-range`. */
export function parsePorts(text: string): { first: number; last: number } {
  const [first = '', last = first] = text.split('-');
  return { first: Number(first), last: Number(last) };
}

function explainPortRange(text: string, otherwise = ''): string | null {
  if (!/^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$/.test(text))
    return `${JSON.stringify(text.slice(0, 80))} is neither a port such as 8080 nor a range such as 8000-8010${otherwise}`;
  const { first, last } = parsePorts(text);
  if (last > 65_535) return `port ${last} is over 65535`;
  if (last <= first && text.includes('-'))
    return `the range ${text} must go from a lower port to a higher one`;
  return null;
}

/** IEEE 802: the lowest bit of the first octet marks a group address, which no interface can have. */
function explainMac(text: string): string | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text))
    return `${JSON.stringify(text.slice(0, 80))} is not a MAC address in lower case such as 02:00:5e:10:00:01`;
  if ((Number.parseInt(text.slice(0, 2), 16) & 1) === 1) return `${text} is a multicast MAC address`;
  if (text === '00:00:00:00:00:00') return `${text} can't be used as a MAC address`;
  return null;
}
