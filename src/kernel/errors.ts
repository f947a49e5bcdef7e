/** What a refusal by the kernel or a tool means for whoever asked. The names are those of the problems of the API. */
type Refusal =
  | 'foreign-object'
  | 'in-use'
  | 'unprocessable'
  | 'limit-reached'
  | 'kernel-unsupported'
  | 'firewall-busy'
  | 'permission'
  | 'kernel-error';

/**
 * `refusal`: the kernel won't have it. `assumption`: something is not as the plan took for granted (a device is
 * gone, an address is there already), so that a plan from what is there may succeed. `timeout`: no answer came.
 */
export type FailureCause =
  { cause: 'refusal'; refusal: Refusal } | { cause: 'assumption' } | { cause: 'timeout' };

/** A command that failed, or may have: what it did is known only by looking. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly failure: FailureCause;
  readonly command: string;
  readonly exitCode: number | null;
  readonly stderr: string;

  constructor(
    command: string,
    exitCode: number | null,
    stderr: string,
    failure: FailureCause = classify(command, stderr),
  ) {
    const said = stderr.trim();
    super(`${command}: ${said === '' ? `exit code ${String(exitCode)}` : said}`);
    this.command = command;
    this.exitCode = exitCode;
    this.stderr = stderr.trim();
    this.failure = failure;
  }
}

/** What was about to be changed is not what the plan took it for; nothing was changed. */
export class AssumptionFailed extends CommandFailed {
  constructor(command: string, message: string) {
    super(command, null, message, { cause: 'assumption' });
  }
}

type Row = [pattern: RegExp, failure: Refusal | 'assumption', command?: RegExp];

/** What the tools print (iproute2 6.1, iptables 1.8.9) and what it means; the first row that fits counts. */
const rows: Row[] = [
  // Ours, or as asked: look, and plan from what is there.
  [/Cannot open network namespace|setting the network namespace .* failed/, 'assumption'],
  [/nsenter: (cannot open|reassociate to namespace)/, 'assumption'],
  [/Cannot find device|Device ".*" does not exist/, 'assumption'],
  // It was there when this `ip` looked at it before.
  [/RTNETLINK answers: No such device/, 'assumption', /link (set|delete)/],
  // A tap is begun under a name that nobody else gives: one of ours is there still.
  [/ioctl\(TUNSETIFF\): Device or resource busy/, 'assumption'],
  [/argument ".*" is wrong: (Device does not exist|Invalid "netns" value)/, 'assumption'],
  [/ipv[46]: [Aa]ddress already assigned/, 'assumption'],
  [/ipv[46]: [Aa]ddress not found/, 'assumption'],
  [/No such process/, 'assumption', /route delete/],
  [
    /Qdisc not found|Invalid handle|qdisc with handle of zero|Exclusivity flag on/,
    'assumption',
    /tc .*qdisc/,
  ],
  // The place for filters is not there, or another one is; or the filter itself is not, or is there already.
  [/Parent Qdisc doesn't exists|Invalid qdisc name: must match existing qdisc/, 'assumption', /tc /],
  [
    /Cannot find specified filter chain|Filter with specified priority\/protocol not found|Filter already exists|File exists/,
    'assumption',
    /tc .*filter/,
  ],
  [/no device matches name/, 'assumption', /ethtool/],
  // It is no port any more.
  [/Operation not supported/, 'assumption', /type bridge_slave/],
  [/Cannot remove namespace file .*: No such file or directory/, 'assumption'],
  [/Bad rule \(does a matching rule exist|No chain\/target\/match by that name/, 'assumption'],
  [/Chain '.*' does not exist|Chain already exists|RULE_DELETE failed \(No such file/, 'assumption'],
  // Somebody else's.
  [/Cannot create namespace file .*: File exists/, 'foreign-object'],
  [/An interface with the same name exists in the target netns/, 'foreign-object'],
  [/RTNETLINK answers: File exists|VXLAN device with the specified VNI already exists/, 'foreign-object'],
  [/NLM_F_REPLACE needed to override/, 'foreign-object', /tc .*qdisc/],
  [
    /Specified filter (kind|protocol) does not match existing one|This filter block is shared/,
    'foreign-object',
    /tc .*filter/,
  ],
  [/Device or resource busy|Address already in use/, 'in-use'],
  // It can't be.
  [
    /Nexthop has invalid gateway|Nexthop device is not up|No route to host|Network is unreachable|Network is down/,
    'unprocessable',
  ],
  [
    /Invalid prefix for given prefix length|Invalid (source|prefsrc) address|Nexthop has invalid/,
    'unprocessable',
  ],
  [/mtu (less than device minimum|greater than device maximum)/, 'unprocessable'],
  [/Bind \/proc\/\d+\/ns\/net .* failed: No such file/, 'unprocessable'],
  [
    /Cannot assign requested address|RTNETLINK answers: Invalid argument/,
    'unprocessable',
    /address (add|delete)|route add|link set .* address/,
  ],
  [/RTNETLINK answers: Invalid argument/, 'unprocessable', /type (macvlan|vxlan)|link set .* mtu/],
  [/Invalid combination of local and remote address/, 'unprocessable'],
  // Limits.
  [
    /No space left on device|Exchange full|Cannot allocate memory|Too many open files|No buffer space available/,
    'limit-reached',
  ],
  // The kernel lacks it.
  [/open: No such (file or directory|device)/, 'kernel-unsupported', /tuntap add/],
  [
    /Unknown device type|Operation not supported|IPv6 is disabled on this device|Protocol not supported/,
    'kernel-unsupported',
  ],
  [
    /do you need to insmod|Couldn't load (match|target)|unknown option "--|Extension .* revision .* not supported/,
    'kernel-unsupported',
  ],
  [/qdisc kind is unknown|Unknown qdisc/, 'kernel-unsupported', /tc .*qdisc/],
  [/TC classifier not found|Failed to load TC action module/, 'kernel-unsupported', /tc .*filter/],
  [/missing kernel module|Warning: Extension .* is not supported/, 'kernel-unsupported'],
  // Passing, or a matter of rights.
  [/xtables lock|Another app is currently holding/, 'firewall-busy'],
  [/Operation not permitted|Permission denied|Read-only file system|must be root/i, 'permission'],
];

function classify(command: string, stderr: string): FailureCause {
  for (const [pattern, failure, onlyFor] of rows) {
    if (!pattern.test(stderr) || onlyFor?.test(command) === false) continue;
    return failure === 'assumption' ? { cause: 'assumption' } : { cause: 'refusal', refusal: failure };
  }
  return { cause: 'refusal', refusal: 'kernel-error' };
}
