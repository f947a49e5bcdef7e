import { commandInside } from './command-line.ts';
import { parseFirewallLine, type FirewallEvent } from './firewall-monitor-text.ts';
import { asObject } from './json-fields.ts';
import { parseToolJson } from './json.ts';
import { MONITORED, MONITOR_ARGUMENTS, parseMonitorLine, type KernelEvent } from './monitor-text.ts';
import { Monitor } from './monitor.ts';
import type { Processes } from './processes.ts';

interface EventListener<E> {
  onEvent: (event: E) => void;
  /** Events were missed: anything may have changed. */
  onLost: () => void;
  /** The process ended and is to be started again; why, as far as it said so. */
  onEnd: (why: string) => void;
}

/** The kernel gives as much of it as net.core.rmem_max allows. */
const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;

/** Events of devices, addresses, routes and sysctls in the daemon's namespace and all that have an id there. */
export function monitorKernel(
  processes: Processes,
  { onEvent, onLost, onEnd }: EventListener<KernelEvent>,
): Monitor {
  return new Monitor({
    processes,
    command: ['ip', [...MONITOR_ARGUMENTS, '-rcvbuf', `${RECEIVE_BUFFER_BYTES}`, ...MONITORED]],
    onLine: (line) => {
      const event = parseMonitorLine(line);
      if (event !== null) onEvent(event);
    },
    // What does not fit into its buffer is dropped (netlink(7), ENOBUFS); it says so and goes on. Of a namespace
    // that is going it says "Peer netns reference is invalid", which is nothing to us.
    onComplaint: (line) => {
      if (line.startsWith('netlink receive error')) onLost();
    },
    onEnd,
    onRestart: onLost,
  });
}

/**
 * Events of the rules of both families in one namespace. As long as it runs it keeps the namespace alive, also when
 * the name is gone: it must be stopped then.
 */
export function monitorFirewall(
  processes: Processes,
  namespace: string,
  { onEvent, onLost, onEnd }: EventListener<FirewallEvent>,
): Monitor {
  // It does not flush what it prints line by line, unless it is made to (stdbuf(1)).
  const command = commandInside(namespace, ['stdbuf', '-oL', 'xtables-monitor', '--event']);
  return new Monitor({
    processes,
    command,
    onLine: (line) => {
      const event = parseFirewallLine(line);
      if (event !== null) onEvent(event);
    },
    // On ENOBUFS it ends, and is started again.
    onComplaint: () => undefined,
    onEnd,
    onRestart: onLost,
  });
}

/** Whether the kernel tells of changes of rules: it does for nftables, never for the legacy tables. */
export async function tellsFirewallEvents(processes: Processes): Promise<boolean> {
  const [iptables, monitor] = await Promise.all([
    processes.run('iptables', ['-V']),
    processes.run('xtables-monitor', ['-V']),
  ]);
  return iptables.stdout.includes('(nf_tables)') && monitor.exitCode === 0;
}

/**
 * The ids of the namespaces that have a name in /run/netns; a namespace with two names comes twice. Not
 * `ip netns list-id`, which shows the first 134 at most (iproute2 6.1).
 */
export async function listNamespaceIds(processes: Processes): Promise<{ name: string; nsid: number }[]> {
  const { stdout } = await processes.run('ip', ['-j', 'netns', 'list']);
  const answer = parseOr(stdout, []);
  return (Array.isArray(answer) ? answer : []).flatMap((entry) => {
    const { name, id } = asObject(entry) ?? {};
    return typeof name === 'string' && typeof id === 'number' ? [{ name, nsid: id }] : [];
  });
}

/** Has ids given to namespaces, so that the monitor hears them; one that has an id keeps it. */
export async function giveNamespaceIds(processes: Processes, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  // The name of one that has an id, or is gone, is refused; the others are to get theirs.
  const input = names.map((name) => `netns set ${name} auto\n`).join('');
  await processes.run('ip', ['-force', '-batch', '-'], { input });
}

function parseOr(text: string, otherwise: unknown): unknown {
  if (text.trim() === '') return otherwise;
  try {
    return parseToolJson(text);
  } catch {
    // Somebody's odd name: without ids, changes are seen by the sweep.
    return otherwise;
  }
}
