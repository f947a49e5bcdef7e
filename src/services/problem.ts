import type { CommandFailed } from '../kernel/errors.ts';
import { StoreError } from '../db/errors.ts';
import { refText, type Difference, type Ref } from '../schemas/common.ts';
import type { ProblemError, ProblemSlug } from '../schemas/problem.ts';

/** What a problem may tell beside its detail (RFC 9457 extension members). */
interface ProblemExtras {
  errors?: ProblemError[];
  command?: string;
  exitCode?: number | null;
  stderr?: string;
  references?: Ref[];
  differences?: Difference[];
}

/** A request that is answered with a problem; `plugins/problems.ts` makes it an answer. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly slug: ProblemSlug;
  readonly extras: ProblemExtras;

  constructor(slug: ProblemSlug, detail: string, extras: ProblemExtras = {}, options?: ErrorOptions) {
    super(detail, options);
    this.slug = slug;
    this.extras = extras;
  }
}

/** A field of the body that does not fit, beyond what its schema can say. */
export function invalidField(pointer: string, message: string): Problem {
  return new Problem('invalid-request', `${pointer}: ${message}`, { errors: [{ pointer, message }] });
}

/** A reference to something that is not recorded. */
export function unknownReference(pointer: string, ref: Ref): Problem {
  return new Problem(
    'unprocessable',
    `${pointer} names the ${ref.kind} ${JSON.stringify(ref.name)}, which is not recorded; create it first`,
    { errors: [{ pointer, message: 'not recorded' }] },
  );
}

/** Something that only one may have is another resource's. */
export function taken(what: string, owner: Ref): Problem {
  return new Problem('unprocessable', `${what} is taken by ${refText(owner)}; choose another`, {
    references: [owner],
  });
}

/** A new resource bears the name of one that is there. */
export function nameConflict(ref: Ref): Problem {
  return new Problem(
    'name-conflict',
    `${refText(ref)} is recorded already; choose another name, or PUT to change it`,
    { references: [ref] },
  );
}

/** What is asked for is not recorded. */
export function notFound({ kind, name }: Ref): Problem {
  return new Problem(
    'not-found',
    `no ${kind} ${JSON.stringify(name)} is recorded; GET the collection to see what there is`,
  );
}

/**
 * A refusal by the kernel or a tool, as whoever asked is to see it.
 *
 * @param small the interface whose MTU is too small for another one, if that is why
 */
export function problemOfCommand(failure: CommandFailed, small: string | null = null): Problem {
  const { command, exitCode, stderr } = failure;
  const extras = { command, exitCode, stderr };
  const said = stderr === '' ? `exit code ${String(exitCode)}` : stderr;
  const options = { cause: failure };
  if (failure.failure.cause === 'timeout')
    return new Problem('timeout', `${command} did not end in time, and was undone`, extras, options);
  const slug = failure.failure.cause === 'refusal' ? failure.failure.refusal : slugOfMissing(failure);
  const why = small === null ? leadOf(slug, failure) : `/mtu does not fit into that of ${small}; lower it`;
  return new Problem(slug, `${why}: \`${command}\` said: ${said}`, extras, options);
}

/** What a link is to stand on may be anybody's, and be missing. */
function slugOfMissing({ command, stderr }: CommandFailed): ProblemSlug {
  // It was looked at once more, and it is none of netnsd's.
  const isPlaceTaken =
    /^tc .*qdisc add dev \S+ ingress$/.test(command) && stderr.includes('Exclusivity flag on');
  if (isPlaceTaken) return 'foreign-object';
  const isBase = /link add (link|.* type vxlan)/.test(command) && stderr.startsWith('Cannot find device');
  const isSysctl = /\bsysctl -w net\./.test(command);
  return isBase || isSysctl ? 'unprocessable' : 'kernel-error';
}

function leadOf(slug: ProblemSlug, { command, stderr }: CommandFailed): string {
  const said = lead[slug] ?? 'the kernel refused';
  if (slug !== 'kernel-unsupported') return said;
  if (/^tc .*\btbf\b/.test(command)) return 'the kernel lacks sch_tbf, which holds back what `rate` is about';
  const isPolicing = /^tc .*add dev \S+ ingress\b/.test(command);
  const [, lacking] = (isPolicing ? POLICING.find(([text]) => text.test(stderr)) : undefined) ?? [];
  if (lacking !== undefined) return `the kernel lacks ${lacking}`;
  const type = / type (macvlan|vxlan)\b/.exec(command)?.[1] ?? (/tuntap add/.test(command) ? 'tap' : null);
  return type === null ? said : `the kernel lacks interfaces of type ${type}`;
}

/** What the kernel says where it lacks something of what an `ingressKbit` needs, and what that is. */
const POLICING = [
  [/TC classifier not found/, 'cls_matchall, which policing needs beside act_police'],
  [/Failed to load TC action module/, 'act_police, which policing needs beside cls_matchall'],
  [/qdisc kind is unknown/, 'sch_ingress, which policing needs beside cls_matchall and act_police'],
] as const;

const lead: Partial<Record<ProblemSlug, string>> = {
  'foreign-object': 'the kernel has something of that name which netnsd has not made; it was left alone',
  'limit-reached': 'a limit is reached',
  unprocessable: 'the kernel can’t do this with what is there',
  'kernel-unsupported': 'the kernel or a tool lacks this',
  permission: 'netnsd lacks a privilege',
  'firewall-busy': 'somebody else holds the lock of the firewall; try again',
  'in-use': 'it is in use',
};

/** A failure of the store, as whoever asked is to see it; anything else is given back as it is. */
export function problemOfStore(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  return new Problem(
    error.fault === 'full' ? 'limit-reached' : 'store-unavailable',
    error.message,
    {},
    { cause: error },
  );
}
