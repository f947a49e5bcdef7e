/**
 * The group of every device that netnsd makes (IFLA_GROUP, ip-link(8) `group`). It is given in the very message
 * that makes the device, so that there is no moment in which a device of ours is unmarked.
 */
export const DEVICE_GROUP = '20851';

/** The protocol of every route that netnsd adds (RTA_PROTOCOL, ip-route(8) `proto`); rtnetlink(7) leaves it free. */
export const ROUTE_PROTOCOL = '115';

/** The handle of every queueing discipline that netnsd adds (tc(8)): the digits of the group, with those that fit. */
export const RATE_HANDLE = '5173:';

/** The place of netnsd's filter among those of what a device receives (tc(8), `pref`): the same digits. */
export const POLICE_PREF = '5173';

/** What the comment of every rule of ours begins with. */
export const COMMENT_PREFIX = 'netnsd:';

/** Where ip-netns(8) binds the names of namespaces. */
export const NETNS_DIRECTORY = '/run/netns';

/**
 * A namespace as `ip` is to be told of it. Always a path: where `ip` takes "a name or a process id", a name that
 * is all digits and bound nowhere would be read as a process id, and 1 is the machine's own namespace.
 */
export function namespacePath(name: string): string {
  return name === 'host' ? `/proc/${process.pid}/ns/net` : `${NETNS_DIRECTORY}/${name}`;
}
